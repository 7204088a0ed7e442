"""amir.client and its command line against the real application, which may be killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from amir.client import Client, ServiceError
from amir.client.__main__ import main
from amir.imaging import read_scan, write_new_series, write_scan
from amir.modality import Modality
from amir.phantoms import phantom_scan
from tests.serve.conftest import TOKEN


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A folder with two MR volumes and a CT series below it."""
    folder = tmp_path_factory.mktemp("scans")
    for number in (1, 2):
        scan = phantom_scan(Modality.MRI, number, size=32, slices=4)
        write_scan(scan, folder / f"head{number}.nii.gz")
    ct = phantom_scan(Modality.CT, 1, size=32, slices=4)
    write_new_series(ct, folder / "ct", patient_id="p")
    return folder


@pytest.fixture
def client(http_service) -> Client:
    return Client(http_service.url, TOKEN)


@pytest.fixture
def amir(http_service, monkeypatch, capsys):
    """Runs the command line with a token; returns its exit code and what it said."""
    monkeypatch.setenv("AMIR_TOKEN", TOKEN)

    def run(*arguments: object, url: str = http_service.url) -> tuple[int, str]:
        code = main([url, *map(str, arguments)])
        return code, capsys.readouterr().err

    return run


def test_a_job_is_followed_to_its_result(client, scans, tmp_path):
    path = scans / "head1.nii.gz"
    sent, done = [], []
    job = client.submit(path, modality="MRI", on_sent=lambda *bytes: sent.append(bytes))
    assert job.wait(lambda *slices: done.append(slices)).state == "done"
    assert sent[-1] == (path.stat().st_size,) * 2
    assert done[-1] == (4, 4)
    assert job.result() == client.restore(path, modality="MRI").content
    assert job.report()["modality"] == "MRI"
    assert client.job(job.id).status().is_final
    job.save(tmp_path / "restored.nii.gz")
    with pytest.raises(FileExistsError):
        job.save(tmp_path / "restored.nii.gz")
    job.delete()
    with pytest.raises(ServiceError, match="no such job"):
        job.status()


def test_a_job_that_fails_says_why(client, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ServiceError, match="zip it again") as refused:
        client.submit(tmp_path / "bad.zip").wait()
    assert (refused.value.status, refused.value.code) == (422, "unreadable")


def test_a_file_becomes_a_file(amir, scans, tmp_path):
    out = tmp_path / "restored.nii.gz"
    code, said = amir(scans / "head1.nii.gz", out, "--modality", "MRI")
    assert code == 0
    assert "research use only" in said
    before, after = (read_scan(p, modality=Modality.MRI) for p in (scans / "head1.nii.gz", out))
    np.testing.assert_allclose(after.voxels, before.voxels, rtol=1e-4, atol=1e-2)
    assert amir(scans / "head1.nii.gz", out, "--modality", "MRI")[0] == 2


def test_a_series_becomes_a_series(amir, scans, tmp_path):
    assert amir(scans / "ct", tmp_path / "out")[0] == 0
    after = read_scan(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4
    np.testing.assert_allclose(after.voxels, read_scan(scans / "ct").voxels, atol=1e-3)


def test_a_folder_becomes_a_folder_and_a_bad_file_stops_nothing_else(amir, scans, tmp_path):
    mixed = tmp_path / "in"
    mixed.mkdir()
    for path in scans.glob("*.nii.gz"):
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "broken.nii.gz").write_bytes(b"\x1f\x8b broken")
    code, said = amir(mixed, tmp_path / "out", "--modality", "MRI")
    assert code == 2
    assert "broken.nii.gz: error [unreadable]" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "head1.nii.gz",
        "head2.nii.gz",
    ]
    (mixed / "broken.nii.gz").unlink()
    assert amir(mixed, tmp_path / "out", "--modality", "MRI", "--resume")[0] == 0


def test_who_has_no_token_or_no_service_is_told(amir, scans, tmp_path, monkeypatch):
    arguments = (scans / "head1.nii.gz", tmp_path / "out.nii.gz", "--modality", "MRI")
    (tmp_path / "token").write_text("not-a-token-of-this-service\n")
    code, said = amir(*arguments, "--token-file", tmp_path / "token")
    assert (code, "[unauthorized]" in said) == (2, True)
    code, said = amir(*arguments, "--tries", "1", url="http://127.0.0.1:9")
    assert (code, "[unreachable]" in said) == (1, True)
    assert amir(*arguments, url="service")[0] == 2
    assert not (tmp_path / "out.nii.gz").exists()


SERVICE = """
import sys, logging
import uvicorn
from amir.config import ServeSettings
from serve.http_app import create_app
from tests.served_networks import Brightened, engine_of

if __name__ == "__main__":
    folder, port, hangs = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "hangs"
    network = Brightened()
    if hangs:
        network.may_go_on.clear()
    settings = ServeSettings.model_validate({
        "folder": f"{folder}/uploads",
        "metrics_folder": f"{folder}/metrics",
        "limits": {"decode_processes": 1},
        "tokens": {"required": False},
        "jobs": {"folder": f"{folder}/jobs", "lease_seconds": 1},
    })
    uvicorn.run(create_app(settings, engine_of(network)), port=port, log_config=None)
"""


@contextmanager
def service_process(folder: Path, port: int, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    script = folder / "service.py"
    script.write_text(SERVICE)
    log = folder / f"{mode}.log"
    with log.open("wb") as output:
        command = [sys.executable, str(script), str(folder), str(port), mode]
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ, start_new_session=True
        )
        try:
            wait_until_healthy(port, process, log)
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


def wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.1)


@pytest.mark.slow
def test_a_job_outlives_the_service_that_took_it(scans, tmp_path, free_port):
    port = free_port()
    client = Client(f"http://127.0.0.1:{port}", tries=60, sleep=lambda _: time.sleep(0.25))
    with service_process(tmp_path, port, "hangs"):
        job = client.submit(scans / "head1.nii.gz", modality="MRI")
        while job.status().state != "running":
            time.sleep(0.05)
        states: list[str] = []
        waiting = threading.Thread(target=lambda: states.append(job.wait().state))
        waiting.start()
        time.sleep(0.2)
    with service_process(tmp_path, port, "works"):
        waiting.join(timeout=40)
        assert states == ["done"]
        assert job.result() == client.restore(scans / "head1.nii.gz", modality="MRI").content
