"""What is refused before it is read: too large, too slow, too much, too often, or no token."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from amir.config import RateSettings
from serve.boundary.problems import PROBLEMS, RequestError
from serve.boundary.rate_limit import RateLimit
from serve.restoring.uploads import Workplace
from tests.serve.conftest import RunningApp, running_app
from tests.served_networks import Brightened, engine_of


def code_of(answer: httpx.Response) -> str:
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.status_code == problem["status"] == PROBLEMS[problem["code"]].status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    return str(problem["code"])


def array(shape: tuple[int, ...] = (2, 20, 24)) -> bytes:
    body = io.BytesIO()
    np.save(body, np.random.default_rng(0).uniform(-1000, 1000, shape).astype(np.float32))
    return body.getvalue()


@pytest.mark.parametrize("route", ["/v1/restore", "/v1/jobs"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}])
def test_without_a_token_nothing_is_taken(http_service, route, headers):
    answer = httpx.post(f"{http_service.url}{route}", headers=headers, content=array())
    assert code_of(answer) == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_body_that_says_it_is_too_long_is_refused_at_once(http_service):
    start = time.monotonic()
    answer = raw(http_service, b"Content-Length: 9999999999\r\n\r\n")
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b'"too_large"' in answer
    assert time.monotonic() - start < 1


def test_a_body_that_does_not_say_is_refused_once_it_is_too_long(http_service):
    pieces = (bytes(2**16) for _ in range(100))
    answer = http_service.client.post("/v1/restore", content=pieces)
    assert code_of(answer) == "too_large"
    assert http_service.lie() == []


def test_a_client_that_falls_asleep_is_sent_away(http_service):
    answer = raw(http_service, b"Content-Length: 1000\r\n\r\nsome of it")
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert http_service.lie() == []


def raw(app: RunningApp, rest: bytes) -> bytes:
    """The answer to a request of which nothing more comes."""
    host, port = app.url.removeprefix("http://").split(":")
    token = app.client.headers["Authorization"].encode()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = b"POST /v1/restore HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\n"
        connection.sendall(head + rest)
        answer = b""
        while piece := connection.recv(2**16):
            answer += piece
            if b"}" in piece:
                break
    return answer


def test_more_voxels_than_allowed_are_refused_by_the_header_alone(http_service):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000, 512, 512), }"
    body = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
    answer = http_service.client.post("/v1/restore?modality=CT", content=body)
    assert code_of(answer) in ("too_large", "unreadable")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"unknown", ""), (array(), "application/zip"), (array(), "text/plain")],
)
def test_a_body_of_another_type_is_refused(http_service, body, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = http_service.client.post("/v1/restore?modality=CT", content=body, headers=headers)
    assert code_of(answer) == "unsupported_media_type"


@pytest.mark.parametrize(
    "query", ["modality=XRAY", "uncertainty=9", "upsample=5", "unknown=1", "model=../etc"]
)
def test_a_wrong_parameter_is_named_and_its_value_not_repeated(http_service, query):
    name, value = query.split("=")
    answer = http_service.client.post(f"/v1/restore?{query}", content=array())
    assert code_of(answer) == "invalid_setting"
    assert name in answer.json()["detail"]
    assert value not in answer.json()["detail"].replace("unknown", "") or len(value) == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/nowhere", "not_found"), ("DELETE", "/v1/restore", "method_not_allowed")],
)
def test_what_is_not_there_is_a_problem_too(http_service, method, path, code):
    assert code_of(http_service.client.request(method, path)) == code


def test_a_model_that_is_not_there_is_not_found(http_service):
    answer = http_service.client.post("/v1/restore?modality=CT&model=other", content=array())
    assert code_of(answer) == "unknown_model"


def test_a_token_has_a_burst_and_then_a_pace():
    now = [0.0]
    limit = RateLimit(RateSettings(requests_per_minute=60, burst=3), clock=lambda: now[0])
    for _ in range(3):
        limit.take("ward")
    with pytest.raises(RequestError) as refusal:
        limit.take("ward")
    assert (refusal.value.code, refusal.value.headers["Retry-After"]) == ("rate_limited", "1")
    limit.take("lab")
    now[0] = 1.0
    limit.take("ward")


@pytest.fixture(scope="module")
def busy(
    tmp_path_factory: pytest.TempPathFactory, free_port
) -> Iterator[tuple[RunningApp, Brightened]]:
    """An application with one place, and the network that can be held up."""
    network = Brightened()
    folder = tmp_path_factory.mktemp("busy") / "uploads"
    limits = {"decode_processes": 1, "concurrent": 1}
    waiting = {"batch": {"queue_seconds": 2}}
    with running_app(folder, free_port(), engine_of(network), limits=limits, engine=waiting) as app:
        yield app, network


def test_one_more_than_there_are_places_is_told_to_come_again(busy):
    app, network = busy
    network.begun.clear()
    network.may_go_on.clear()
    with sent(app, array()):
        assert network.begun.wait(timeout=20)
        refused = app.client.post("/v1/restore?modality=CT", content=array())
        network.may_go_on.set()
    assert code_of(refused) == "overloaded"
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_request_in_line_is_counted_and_answered(busy):
    app, network = busy
    network.begun.clear()
    network.may_go_on.clear()
    with sent(app, array()):
        assert network.begun.wait(timeout=20)
        with sent(app, array()) as second:
            metrics = f"{app.url}/metrics"
            wait_until(lambda: "\namir_requests_waiting 1.0" in httpx.get(metrics).text)
            network.may_go_on.set()
            second.settimeout(20)
            assert b" 200 " in second.recv(2**12).split(b"\r\n")[0]
    assert "\namir_requests_waiting 0.0" in httpx.get(metrics).text


def test_a_client_that_leaves_ends_its_work_and_leaves_nothing(busy):
    app, network = busy
    network.begun.clear()
    network.may_go_on.clear()
    with sent(app, array()):
        assert network.begun.wait(timeout=20)
    wait_until(lambda: app.lie() == [])
    network.may_go_on.set()
    wait_until(lambda: app.client.post("/v1/restore?modality=CT", content=array()).is_success)


def sent(app: RunningApp, body: bytes) -> socket.socket:
    """A connection on which a whole request was sent and no answer awaited."""
    host, port = app.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    token = app.client.headers["Authorization"].encode()
    head = b"POST /v1/restore?modality=CT HTTP/1.1\r\nHost: x\r\nAuthorization: " + token
    connection.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def wait_until(holds) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_dead_process_left_is_removed_by_the_next(tmp_path: Path):
    dead = tmp_path / "amir-serve-dead"
    dead.mkdir()
    (dead / "lock").touch()
    living = Workplace(tmp_path)
    assert not dead.exists()
    another = Workplace(tmp_path)
    assert living.folder.exists()
    living.close()
    another.close()
    assert list(tmp_path.iterdir()) == []
