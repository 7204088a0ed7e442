"""Archives of the distribution to send series to: Orthanc by DICOMweb, storescp by DIMSE."""

from __future__ import annotations

import io
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

START_SECONDS = 30
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
BOUNDARY = "series-boundary"


class Orthanc:
    """A running Orthanc's DICOMweb service."""

    def __init__(self, address: str) -> None:
        self.address = address

    def store(self, files: Sequence[Path]) -> list[str]:
        """STOW-RS, all files in one request; the SOPInstanceUIDs that it says it has stored."""
        start = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(start + file.read_bytes() + b"\r\n" for file in files)
        request = urllib.request.Request(
            f"{self.address}/dicom-web/studies",
            data=body + f"--{BOUNDARY}--\r\n".encode(),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
                "Accept": "application/dicom+json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert not answer.get("00081198", {}).get("Value"), "Orthanc refused some instances"
        return [item["00081155"]["Value"][0] for item in answer["00081199"]["Value"]]

    def retrieve(self, study: str, series: str) -> list[Dataset]:
        """WADO-RS: the instances of a series as they lie in the archive."""
        request = urllib.request.Request(
            f"{self.address}/dicom-web/studies/{study}/series/{series}",
            headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
            message = BytesParser(policy=HTTP).parsebytes(head + response.read())
        parts = [part.get_payload(decode=True) for part in message.iter_parts()]
        return [pydicom.dcmread(io.BytesIO(part)) for part in parts]


@contextmanager
def running_orthanc(folder: Path, port: int) -> Iterator[Orthanc]:
    """An Orthanc with empty storage in a folder, on loopback; stopped by its process id."""
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(DICOMWEB_PLUGIN)],
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = folder / "orthanc.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["Orthanc", folder / "orthanc.json"], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until(lambda: _answers(f"{address}/dicom-web/studies"), process, log)
        yield Orthanc(address)
    finally:
        process.terminate()
        process.wait(20)


def send_by_dimse(files: Sequence[Path], folder: Path, port: int) -> list[Dataset]:
    """storescu to a storescp that is started for it; what lies in the receiver's folder then."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        receiver = subprocess.Popen(
            ["storescp", "--output-directory", folder, str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until(lambda: _echoes(port), receiver, log)
        sender = ["storescu", "--required", "127.0.0.1", str(port), *files]
        done = subprocess.run(sender, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    finally:
        receiver.terminate()
        receiver.wait(20)
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _echoes(port: int) -> bool:
    command = ["echoscu", "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, timeout=10).returncode == 0


def _wait_until(is_ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
