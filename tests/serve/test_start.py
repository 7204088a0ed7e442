"""make serve: from a folder with a model to a page's link, examples that work, and a clean end."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amir.config import StartSettings
from amir.errors import InputError
from serve.local_token import local_token
from serve.start import newest_demo, service_settings, welcome

ROOT = Path(__file__).resolve().parent.parent.parent
ENCRYPTED = ["--http.certificate", "c.pem", "--http.key", "k.pem"]
CERTIFICATE = [
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
    *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
    *("-out", "c.pem", "-keyout", "k.pem"),
]


def test_the_token_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "new folder" / "tokens.yaml"
    token = local_token(path)
    assert len(token) > 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert local_token(path) == token


def test_the_newest_demo_is_served_by_default(tmp_path):
    for name in ("demo-20260101-000000", "demo-20260102-000000", "mine"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    settings = service_settings(StartSettings(storage=tmp_path, tokens=tmp_path / "tokens.yaml"))
    assert settings.models == {"champion": "demo-20260102-000000"}


def test_without_a_demo_the_way_to_one_is_told(tmp_path):
    with pytest.raises(InputError, match="make demo"):
        newest_demo(tmp_path)


def test_the_link_carries_the_token_where_no_log_sees_it(tmp_path):
    (tmp_path / "demo-1" / "checkpoints").mkdir(parents=True)
    settings = service_settings(StartSettings(storage=tmp_path, tokens=tmp_path / "tokens.yaml"))
    assert "http://127.0.0.1:8000/#token=secret" in welcome(settings, tmp_path, "secret")


@pytest.fixture
def started(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    save_checkpoint: Callable[..., Any],
    free_port: Callable[[], int],
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The service as `make serve` starts it, in a folder with a space; its folder.

    Parametrised with further options; c.pem and k.pem in the folder are a certificate and its key.
    """
    folder, options = tmp_path / "a folder", getattr(request, "param", [])
    save_checkpoint(folder / "demo-output" / "storage" / "demo-1" / "checkpoints" / "1")
    if options:
        subprocess.run(CERTIFICATE, cwd=folder, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "platform")))}
    process = subprocess.Popen(
        [sys.executable, "-m", "serve.start", "--http.port", str(free_port()), *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process, folder
    finally:
        if process.poll() is None:
            process.kill()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(220)
def test_the_examples_work_as_printed_and_ctrl_c_ends_everything(started):
    process, folder = started
    told = printed_until(process, "Ctrl-C ends")
    commands = "\n".join(line for line in told.splitlines() if line.startswith("  "))
    examples = commands[commands.index("  export AMIR_TOKEN") :]
    done = subprocess.run(
        ["bash", "-ec", examples], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    restored = ["restored.nii.gz", "restored-in-python.nii.gz", "restored-by-client.nii.gz"]
    assert all((folder / name).stat().st_size > 1000 for name in restored)
    children = processes_of(folder)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert processes_of(folder) == []


def printed_until(process: subprocess.Popen[str], mark: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(mark):
            return "".join(lines)
    raise AssertionError("".join(lines))


def processes_of(folder: Path) -> list[int]:
    """Living processes that were started in a folder, or by one that was."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"PWD={folder}".encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.system("openssl", "curl")
@pytest.mark.timeout(220)
@pytest.mark.parametrize(
    "started", [["--http.certificate", "c.pem", "--http.key", "k.pem"]], indirect=True
)
def test_with_a_certificate_the_service_speaks_https_alone(started):
    process, folder = started
    url = re.search(r"https://[0-9.:]+", printed_until(process, "Ctrl-C ends"))[0]
    ask = ["curl", "--silent", "--fail", "--cacert", "c.pem", f"{url}/healthz"]
    assert subprocess.check_output(ask, cwd=folder) == b'{"status":"ok"}'
    plain = ["curl", "--silent", "--fail", f"{url.replace('https', 'http')}/healthz"]
    assert subprocess.run(plain, capture_output=True, check=False).returncode != 0
