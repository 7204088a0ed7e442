"""The service on Ray Serve: two HTTP replicas, an engine, and what only Ray's proxy does."""

from __future__ import annotations

import io
import re
import time

import httpx
import numpy as np
import pytest

from amir.client import Client
from tests.serve.conftest import TOKEN

pytestmark = pytest.mark.ray


def array(shape: tuple[int, ...] = (3, 32, 40)) -> bytes:
    body = io.BytesIO()
    np.save(body, np.random.default_rng(0).uniform(-1000, 1000, shape).astype(np.float32))
    return body.getvalue()


def test_a_file_goes_through_the_whole_service(service):
    answer = service.client.post("/v1/restore?modality=CT", content=array())
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-AMIR-Model"] == service.digest
    assert np.load(io.BytesIO(answer.content)).shape == (3, 32, 40)


def test_the_proxy_and_the_application_agree_on_the_request_id(service):
    refused = service.client.post("/v1/restore?modality=CT", content=b"")
    assert refused.status_code == 422
    assert refused.headers.get_list("X-Request-ID") == [refused.json()["request_id"]]


def test_health_is_open_and_the_rest_is_not(service):
    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{service.url}/readyz").status_code == 200
    assert httpx.get(f"{service.url}/v1/models").status_code == 401


def test_a_job_is_followed_to_its_end_whichever_replica_answers(service, tmp_path):
    path = tmp_path / "slices.npy"
    path.write_bytes(array())
    job = Client(service.url, TOKEN).submit(path, modality="CT")
    told: list[tuple[int, int]] = []
    assert job.wait(lambda *slices: told.append(slices)).state == "done"
    assert told[-1] == (3, 3)
    direct = service.client.post("/v1/restore?modality=CT", content=array())
    for _ in range(4):  # there are two replicas
        restored = np.load(io.BytesIO(job.result()))
        np.testing.assert_allclose(restored, np.load(io.BytesIO(direct.content)), atol=0.05)


def test_whichever_replica_is_asked_tells_the_metrics_of_all(service):
    def count(sample: str) -> float:
        lines = httpx.get(f"{service.url}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(sample))

    refused = 'amir_problems_total{code="unsupported_media_type"}'
    for _ in range(8):  # there are two replicas
        service.client.post("/v1/restore", content=b"a", headers={"Content-Type": "text/plain"})
    # The others' latest numbers are seconds old.
    deadline = time.monotonic() + 30
    while count(refused) < 8 or not count("amir_forward_slices_count "):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert {count(refused) for _ in range(6)} == {8}


def test_the_page_and_its_files_are_served(service):
    page = httpx.get(service.url)
    assert "Research use only" in page.text
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        assert httpx.get(f"{service.url}/{name}").status_code == 200
