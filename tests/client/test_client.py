"""The client against a real HTTP server on loopback that fails in the ways servers do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from amir.client import Client, ServiceError, content_type


class Service(ThreadingHTTPServer):
    """Answers POST with the scripted statuses, then by echoing the body reversed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[int] = []
        self.requests: list[tuple[str, str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = self.headers
        self.server.requests.append(
            (self.path, headers["Content-Type"], headers.get("Authorization"))
        )
        status = self.server.script.pop(0) if self.server.script else 200
        if status == 0:
            self.connection.close()
            return
        problem = json.dumps({"title": "refused", "code": "unreadable", "detail": "no DICOM"})
        answer = body[::-1] if status == 200 else problem.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if status == 200:
            self.send_header("X-AMIR-Model", "abc123")
            self.send_header("X-AMIR-Clipped", "7")
        if status == 503:
            self.send_header("Retry-After", "3")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_comes_back_restored_with_what_the_headers_say(service: Service, scan: Path) -> None:
    answer = Client(service.url, token="secret").restore(scan, modality="MRI")
    assert answer.content == b"9876543210"
    assert (answer.model_digest, answer.clipped, answer.tries) == ("abc123", 7, 1)
    assert service.requests == [
        ("/v1/restore?modality=MRI", "application/x-nifti", "Bearer secret")
    ]


@pytest.mark.parametrize("failures", [[500], [503, 429], [0], [0, 502, 504, 500, 0]])
def test_what_is_lost_on_the_way_is_sent_again(
    service: Service, scan: Path, failures: list[int]
) -> None:
    service.script = list(failures)
    answer = Client(service.url, sleep=lambda seconds: None).restore(scan)
    assert answer.content == b"9876543210"
    assert answer.tries == len(failures) + 1


def test_the_service_says_how_long_to_wait(service: Service, scan: Path) -> None:
    service.script = [503]
    waits: list[float] = []
    Client(service.url, sleep=waits.append).restore(scan)
    assert waits == [3.0]


def test_a_refusal_is_not_repeated_and_keeps_its_code(service: Service, scan: Path) -> None:
    service.script = [422]
    with pytest.raises(ServiceError, match="no DICOM") as refused:
        Client(service.url).restore(scan)
    assert (refused.value.status, refused.value.code) == (422, "unreadable")
    assert len(service.requests) == 1


def test_it_gives_up_after_its_tries(service: Service, scan: Path) -> None:
    service.script = [500] * 10
    with pytest.raises(ServiceError) as failed:
        Client(service.url, tries=3, sleep=lambda seconds: None).restore(scan)
    assert failed.value.status == 500
    assert len(service.requests) == 3


def test_an_unreachable_service_is_named(scan: Path) -> None:
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9"):
        Client("http://127.0.0.1:9", tries=2, sleep=lambda seconds: None).restore(scan)


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(Client("http://127.0.0.1:9", token="secret"))


def test_a_file_the_service_does_not_take_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.dcm"):
        content_type(tmp_path / "scan.png")
