"""/v1/jobs over a real socket: submitted, followed, fetched, looked at, deleted."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import nibabel
import numpy as np
import pytest

from amir.client.events import Event, events_of
from amir.imaging import read_scan, write_new_series, write_scan
from amir.modality import Modality
from amir.phantoms import phantom_scan

NIFTI = {"Content-Type": "application/x-nifti"}
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("volume") / "scan.nii.gz"
    write_scan(phantom_scan(Modality.MRI, 1, size=32, slices=6), path)
    return path.read_bytes()


@pytest.fixture
def submit(http_service, volume) -> Callable[..., httpx.Response]:
    def post(content: bytes = volume, *, headers: JSON | None = None, **query: str):
        query = {"modality": "MRI", **query}
        return http_service.client.post(
            "/v1/jobs", content=content, params=query, headers=NIFTI | (headers or {})
        )

    return post


def finished(client: httpx.Client, job: JSON, seconds: float = 20) -> JSON:
    deadline = time.monotonic() + seconds
    while job["state"] not in ("done", "failed"):
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
        job = client.get(job["links"]["self"]).json()
    return job


def stream(client: httpx.Client, job: JSON, last: str = "") -> list[Event]:
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", job["links"]["events"], headers=headers) as answer:
        lines = (line.encode() + b"\n" for line in answer.iter_lines())
        return list(events_of(lines))


def test_a_job_is_accepted_and_says_where_to_ask_for_it(http_service, submit):
    answer = submit()
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert finished(http_service.client, job)["progress"] == {"done": 6, "total": 6}


def test_the_result_is_what_the_restore_route_answers(http_service, submit, volume):
    job = finished(http_service.client, submit().json())
    direct = http_service.client.post(
        "/v1/restore", content=volume, params={"modality": "MRI"}, headers=NIFTI
    )
    result = http_service.client.get(job["links"]["result"])
    assert result.content == direct.content
    for name in ("Content-Type", "Content-Disposition", "X-AMIR-Model", "X-AMIR-Clipped"):
        assert result.headers[name] == direct.headers[name]
    report = http_service.client.get(job["links"]["report"]).json()
    assert (report["modality"], report["model"]["digest"]) == ("MRI", "a" * 64)


def test_events_tell_the_progress_and_end_with_the_job(http_service, submit):
    job = submit().json()
    events = stream(http_service.client, job)
    states = [json.loads(event.data)["state"] for event in events]
    assert states[-1] == "done"
    assert [int(event.id) for event in events] == sorted({int(event.id) for event in events})


def test_events_go_on_where_they_broke_off(http_service, submit):
    job = finished(http_service.client, submit().json())
    (last,) = stream(http_service.client, job)
    assert stream(http_service.client, job, last=str(int(last.id) - 1)) == [last]
    headers = {"Last-Event-ID": last.id}
    assert http_service.client.get(job["links"]["events"], headers=headers).status_code == 204


def test_the_same_key_is_the_same_job(http_service, submit):
    headers = {"Idempotency-Key": "once"}
    assert submit(headers=headers).json()["id"] == submit(headers=headers).json()["id"]
    refused = submit(headers=headers, upsample="2")
    assert (refused.status_code, refused.json()["code"]) == (422, "key_reused")


def test_the_same_file_is_restored_once(http_service, submit):
    first = finished(http_service.client, submit().json())
    folder = http_service.folder.parent / f"{http_service.folder.name}-jobs" / "results"
    before = sorted(folder.iterdir())
    second = finished(http_service.client, submit().json())
    assert second["id"] != first["id"]
    assert sorted(folder.iterdir()) == before


def test_another_token_sees_nothing_of_a_job(http_service, submit):
    job = finished(http_service.client, submit().json())
    for address in job["links"].values():
        answer = http_service.other.get(address)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert http_service.other.delete(job["links"]["self"]).status_code == 404
    assert http_service.client.get(job["links"]["self"]).status_code == 200


def test_a_job_of_a_bad_file_fails_with_its_code(http_service, submit, volume):
    job = finished(http_service.client, submit(volume[:200]).json())
    assert (job["state"], job["error"]["code"]) == ("failed", "unreadable")
    answer = http_service.client.get(job["links"]["result"])
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable")
    assert answer.json()["detail"] == job["error"]["detail"]


def test_the_document_describes_a_job_that_failed(http_service, submit, volume):
    document = http_service.client.get("/v1/openapi.json").json()
    job = finished(http_service.client, submit(volume[:200]).json())
    described = {"$ref": "#/components/schemas/JobAnswer", "components": document["components"]}
    jsonschema.Draft202012Validator(described).validate(job)
    assert job["state"] == "failed"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"model": "none-of-that-name"}, 404, "unknown_model"),
        ({"upsample": "9"}, 422, "invalid_setting"),
        ({"colour": "red"}, 422, "invalid_setting"),
    ],
)
def test_what_can_be_refused_at_once_makes_no_job(submit, query, status, code):
    answer = submit(**query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_deleted_job_is_gone_with_its_files(http_service, submit):
    job = finished(http_service.client, submit(uncertainty="1").json())
    assert http_service.client.delete(job["links"]["self"]).status_code == 204
    for address in job["links"].values():
        assert http_service.client.get(address).status_code == 404
    store = http_service.folder.parent / f"{http_service.folder.name}-jobs"
    assert not list(store.glob(f"jobs/*{job['id']}*"))


def view(client: httpx.Client, job: JSON, name: str, folder: Path) -> nibabel.Nifti1Image:
    path = folder / f"{name}.nii.gz"
    path.write_bytes(client.get(job["links"][name]).raise_for_status().content)
    return nibabel.load(path)


def test_a_series_is_shown_in_one_orientation(http_service, tmp_path):
    series = tmp_path / "series"
    write_new_series(phantom_scan(Modality.CT, 1, size=32, slices=4), series, patient_id="p")
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for file in series.iterdir():
            archive.write(file, file.name)
    content = (tmp_path / "series.zip").read_bytes()
    headers = {"Content-Type": "application/zip"}
    job = http_service.client.post("/v1/jobs", content=content, headers=headers).json()
    before = view(http_service.client, job, "degraded", tmp_path)
    job = finished(http_service.client, job)
    after = view(http_service.client, job, "restored", tmp_path)
    scan = read_scan(series)
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(scan.voxels, scan.affine))
    for shown in (before, after):
        assert nibabel.aff2axcodes(shown.affine) == ("R", "A", "S")
        assert (shown.get_data_dtype(), int(shown.header["sform_code"])) == (np.int16, 1)
        np.testing.assert_allclose(shown.affine, canonical.affine, atol=1e-4)
        np.testing.assert_array_equal(shown.get_fdata(), canonical.get_fdata())


def test_nothing_but_the_files_knows_the_patient(http_service, tmp_path):
    series = tmp_path / "series"
    scan = phantom_scan(Modality.CT, 1, size=32, slices=2)
    write_new_series(scan, series, patient_id="CANARY-4711", description="CANARY-4711")
    content = next(series.iterdir()).read_bytes()
    assert b"CANARY-4711" in content
    headers = {"Content-Type": "application/dicom", "Idempotency-Key": "CANARY-4711"}
    job = http_service.client.post("/v1/jobs", content=content, headers=headers).json()
    job = finished(http_service.client, job)
    told = json.dumps(job) + http_service.client.get(job["links"]["report"]).text
    store = http_service.folder.parent / f"{http_service.folder.name}-jobs"
    for path in store.rglob("*"):
        told += path.name + (path.read_text() if path.suffix == ".json" else "")
    told += "".join(path.read_text() for path in (store / "keys").iterdir())
    assert job["id"] in told
    assert "CANARY" not in told + http_service.log.getvalue()


def test_how_sure_the_network_is_can_be_seen_where_it_was_asked_for(http_service, submit, tmp_path):
    job = finished(http_service.client, submit(uncertainty="1").json())
    assert http_service.client.get(job["links"]["uncertainty"]).status_code == 200
    spread = view(http_service.client, job, "uncertainty", tmp_path)
    restored = view(http_service.client, job, "restored", tmp_path)
    assert spread.shape == restored.shape
    # The mirrored passes of an identity network agree.
    np.testing.assert_allclose(spread.get_fdata(), 0, atol=1e-3)
    without = finished(http_service.client, submit().json())
    assert http_service.client.get(without["links"]["uncertainty"]).status_code == 404


def test_a_failed_job_tells_why_in_place_of_its_images(http_service, volume, submit):
    job = finished(http_service.client, submit(volume[:200]).json())
    answer = http_service.client.get(job["links"]["restored"])
    assert answer.json()["code"] == "unreadable"
