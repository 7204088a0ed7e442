"""What is told about the service: its document, its metrics, its log, and nothing of a patient."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest

from amir.imaging import write_new_series
from amir.modality import Modality
from amir.phantoms import phantom_scan
from serve.boundary.problems import PROBLEMS
from serve.metrics import METRICS

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "serving.md"
CANARY = "CANARYDOE"


@pytest.fixture(scope="module")
def document(http_service) -> dict:
    return httpx.get(f"{http_service.url}/v1/openapi.json").json()


def test_every_status_of_every_route_is_documented_with_an_example(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if int(status) >= 400:
                    examples = content["application/problem+json"]["examples"]
                    found = {PROBLEMS[code].status for code in examples}
                    assert found == {int(status)}, (method, path)


def test_every_reference_of_the_document_leads_somewhere(document):
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split('"$ref": "#/')[1:]}
    assert references
    for reference in references:
        place = document
        for name in reference.split("/"):
            place = place[name]


def test_the_operators_page_lists_every_problem_and_every_metric():
    page = DOCS.read_text()
    assert [code for code in PROBLEMS if f"`{code}`" not in page] == []
    assert [name for name in METRICS if f"`{name}`" not in page] == []


def test_what_was_done_is_counted(http_service):
    body = _array()
    http_service.client.post("/v1/restore?modality=CT", content=body)
    text = httpx.get(f"{http_service.url}/metrics").text
    assert 'amir_requests_total{method="POST",route="/v1/restore",status="200"}' in text
    assert 'amir_restorations_total{modality="CT"' in text
    assert 'amir_stage_seconds_count{stage="forward"}' in text
    assert f'amir_model_info{{alias="champion",digest="{"a" * 64}"' in text


def test_the_models_are_listed(http_service):
    [model] = http_service.client.get("/v1/models").json()["models"]
    assert (model["alias"], model["digest"], model["ready"]) == ("champion", "a" * 64, True)


def test_every_request_is_one_line_with_its_id(http_service):
    own = "0123-abcdef-4567"
    answer = http_service.client.get("/v1/models", headers={"X-Request-ID": own})
    assert answer.headers["X-Request-ID"] == own
    deadline = time.monotonic() + 10
    while own not in http_service.log.getvalue():  # it is written once the answer is sent
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lines = [json.loads(line) for line in http_service.log.getvalue().splitlines()]
    [line] = [line for line in lines if line["request_id"] == own]
    assert (line["route"], line["status"], line["token"]) == ("/v1/models", 200, "tester")


def test_nothing_of_a_patient_is_told_or_logged(http_service, tmp_path):
    """Names in headers, file names and ids, in good files and damaged; in addresses and queries."""
    answers = [
        http_service.client.post(
            f"/v1/restore{query}",
            content=body,
            headers={"X-Request-ID": CANARY, "User-Agent": CANARY},
        )
        for body in specimens(tmp_path)
        for query in ("", "?report=1")
    ]
    answers.append(http_service.client.get(f"/v1/{CANARY}"))
    http_service.client.post(f"/v1/restore?model={CANARY}", content=_array())  # told who asked
    assert {answer.status_code for answer in answers} >= {200, 404, 422}
    told = [str(answer.headers) for answer in answers]
    told += [answer.text for answer in answers if answer.status_code >= 400]
    reported = [a for a in answers if a.is_success and "report=1" in str(a.url)]
    assert reported
    told += [answer.text.split("\r\n\r\n")[1] for answer in reported]
    told += [http_service.log.getvalue(), httpx.get(f"{http_service.url}/metrics").text]
    assert [text for text in told if CANARY in text] == []


def specimens(folder: Path) -> list[bytes]:
    """Zips of a series that names its patient: whole, without a tag, mixed, cut, not DICOM."""
    write_new_series(phantom_scan(Modality.CT, 1, size=32, slices=3), folder / "s", patient_id="p")
    files = sorted((folder / "s").iterdir())
    headers = [pydicom.dcmread(file) for file in files]
    for header in headers:
        header.PatientName = header.PatientID = header.InstitutionName = CANARY
        header.SeriesDescription = header.StudyDescription = CANARY
    whole = _zip(folder, headers)
    del headers[1].RescaleSlope
    untold = _zip(folder, headers)
    headers[1].RescaleSlope = 1
    headers[1].PixelSpacing = [0.1, 0.1]
    uneven = _zip(folder, headers)
    headers[1].SeriesInstanceUID = pydicom.uid.generate_uid()
    mixed = _zip(folder, headers)
    return [whole, untold, uneven, mixed, whole[: len(whole) // 2], _not_dicom(folder)]


def _zip(folder: Path, headers: list[pydicom.Dataset]) -> bytes:
    path = folder / f"{CANARY}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, header in enumerate(headers):
            header.save_as(folder / "one.dcm")
            archive.write(folder / "one.dcm", f"{CANARY}/{CANARY}{number}.dcm")
    return path.read_bytes()


def _not_dicom(folder: Path) -> bytes:
    path = folder / "not.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{CANARY}.dcm", CANARY)
    return path.read_bytes()


def _array() -> bytes:
    body = io.BytesIO()
    np.save(body, np.random.default_rng(0).uniform(-1000, 1000, (2, 20, 24)).astype(np.float32))
    return body.getvalue()
