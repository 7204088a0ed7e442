"""POST /v1/restore over a real socket: a file of each kind in, the same kind out."""

from __future__ import annotations

import email
import io
import json
import zipfile
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pydicom
import pytest

from amir.imaging import Scan, read_scan, write_new_series, write_scan
from amir.modality import MODELLING_RANGES, Modality
from amir.phantoms import phantom_scan

SIZES = {Modality.MRI: 40, Modality.CT: 48, Modality.PET: 32}


@pytest.fixture(scope="module")
def scans() -> dict[Modality, Scan]:
    return {m: phantom_scan(m, 1, size=SIZES[m], slices=6) for m in Modality}


def zipped(scan: Scan, folder: Path) -> Path:
    write_new_series(scan, folder / "series", patient_id="p")
    path = folder / "series.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((folder / "series").iterdir()):
            archive.write(file, file.name)
    return path


def restored(answer: httpx.Response, path: Path, modality: Modality | None = None) -> Scan:
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return read_scan(path, modality=modality)


@pytest.mark.parametrize("modality", Modality)
def test_a_zip_comes_back_as_a_derived_series(http_service, scans, modality, tmp_path):
    sent = zipped(scans[modality], tmp_path)
    answer = http_service.client.post(
        "/v1/restore", content=sent.read_bytes(), headers={"Content-Type": "application/zip"}
    )
    before, after = read_scan(sent), restored(answer, tmp_path / "back.zip")
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["X-AMIR-Model"] == "a" * 64
    # An identity network: CT and MR come back to the integer, PET to its slices' new slopes.
    tolerance = 1e-5 * before.voxels.max() if modality is Modality.PET else 1e-3
    np.testing.assert_allclose(after.voxels, before.voxels, atol=tolerance)
    member = zipfile.ZipFile(io.BytesIO(answer.content)).read("0001.dcm")
    described = pydicom.dcmread(io.BytesIO(member)).SeriesDescription
    assert "RESEARCH" in described


def test_one_dicom_file_comes_back_as_one(http_service, scans, tmp_path):
    write_new_series(scans[Modality.CT], tmp_path / "series", patient_id="p")
    file = next((tmp_path / "series").iterdir())
    answer = http_service.client.post(
        "/v1/restore", content=file.read_bytes(), headers={"Content-Type": "application/dicom"}
    )
    after = restored(answer, tmp_path / "back.dcm")
    assert answer.headers["Content-Type"] == "application/dicom"
    np.testing.assert_allclose(after.voxels, read_scan(file).voxels, atol=1e-3)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_comes_back_with_its_header(http_service, scans, ending, tmp_path):
    path = tmp_path / f"scan{ending}"
    write_scan(scans[Modality.MRI], path)
    answer = http_service.client.post(
        "/v1/restore?modality=MRI",
        content=path.read_bytes(),
        headers={"Content-Type": "application/x-nifti"},
    )
    after = restored(answer, tmp_path / f"back{ending}", Modality.MRI)
    np.testing.assert_allclose(after.voxels, scans[Modality.MRI].voxels, rtol=1e-4)
    np.testing.assert_allclose(after.affine, scans[Modality.MRI].affine)
    assert b"research" in bytes(nibabel.load(tmp_path / f"back{ending}").header["descrip"])


@pytest.mark.parametrize("shape", [(20, 24), (5, 20, 24)])
def test_an_array_comes_back_in_its_shape(http_service, shape):
    limits = MODELLING_RANGES[Modality.CT]
    slices = np.random.default_rng(0).uniform(limits.lower, limits.upper, shape)
    body = io.BytesIO()
    np.save(body, slices)
    answer = http_service.client.post("/v1/restore?modality=CT", content=body.getvalue())
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content)), slices, atol=1e-2)


def test_the_report_comes_before_the_file(http_service, scans, tmp_path):
    sent = zipped(scans[Modality.CT], tmp_path).read_bytes()
    answer = http_service.client.post("/v1/restore?report=1", content=sent)
    header = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    report, file = email.message_from_bytes(header + answer.content).get_payload()
    told = json.loads(report.get_payload())
    assert told["task"] == "ct-denoise"
    assert told["modality"] == "CT"
    assert told["model"]["digest"] == "a" * 64
    assert told["slices"] == [6, 48, 48]
    assert told["clipped_voxels"] == int(answer.headers["X-AMIR-Clipped"])
    stages = {"receive", "read", "restore", "waiting", "forward", "write"}
    assert stages <= set(told["seconds"])
    (tmp_path / "back.zip").write_bytes(file.get_payload(decode=True))
    np.testing.assert_allclose(
        read_scan(tmp_path / "back.zip").voxels, read_scan(tmp_path / "series.zip").voxels, atol=0.1
    )


def test_nothing_of_an_upload_stays_behind(http_service, scans, tmp_path):
    http_service.client.post(
        "/v1/restore", content=zipped(scans[Modality.CT], tmp_path).read_bytes()
    )
    assert http_service.client.post("/v1/restore", content=b"unknown").status_code == 415
    assert http_service.lie() == []


def test_of_several_series_one_can_be_chosen(http_service, scans, tmp_path):
    for name in ("one", "other"):
        write_new_series(scans[Modality.CT], tmp_path / name, patient_id="p", description=name)
    both = tmp_path / "both.zip"
    with zipfile.ZipFile(both, "w") as archive:
        for file in sorted(tmp_path.glob("o*/*")):
            archive.write(file, f"{file.parent.name}-{file.name}")
    refusal = http_service.client.post("/v1/restore", content=both.read_bytes())
    assert (refusal.status_code, refusal.json()["code"]) == (422, "mixed_series")
    label = refusal.json()["detail"].rsplit("choose=", 1)[1]
    answer = http_service.client.post(f"/v1/restore?choose={label}", content=both.read_bytes())
    after = restored(answer, tmp_path / "back.zip")
    before = read_scan(f"{both}#{label}")
    np.testing.assert_allclose(after.voxels, before.voxels, atol=0.1)


def test_a_small_matrix_is_enlarged_first(http_service, scans, tmp_path):
    sent = zipped(scans[Modality.MRI], tmp_path)
    answer = http_service.client.post("/v1/restore?upsample=2", content=sent.read_bytes())
    before, after = read_scan(sent), restored(answer, tmp_path / "back.zip")
    assert after.voxels.shape == (80, 80, 6)
    np.testing.assert_allclose(after.spacing_mm[0], before.spacing_mm[0] / 2, rtol=1e-5)


def test_ct_has_no_kspace_to_fill(http_service, scans, tmp_path):
    sent = zipped(scans[Modality.CT], tmp_path).read_bytes()
    answer = http_service.client.post("/v1/restore?upsample=2", content=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_modality")


def test_doubts_and_the_spread_over_passes_are_reported(http_service, scans, tmp_path):
    path = tmp_path / "scan.nii"
    write_scan(scans[Modality.MRI], path)  # fully sampled, as no image of the training was
    answer = http_service.client.post(
        "/v1/restore?modality=MRI&uncertainty=2&report=1", content=path.read_bytes()
    )
    told = json.loads(answer.content.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])
    assert answer.headers["X-AMIR-Flags"] == "outlier"
    assert "k-space is full" in told["flags"][0]["message"]
    assert told["uncertainty"]["passes"] == 2
    assert told["uncertainty"]["mean"] < 1e-3 * scans[Modality.MRI].voxels.max()


def test_an_image_of_nothing_is_refused(http_service):
    body = io.BytesIO()
    np.save(body, np.full((2, 20, 20), -1000.0))
    answer = http_service.client.post("/v1/restore?modality=CT", content=body.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (422, "empty")


def test_pet_above_the_range_goes_through_the_network_too(http_service):
    slices = np.random.default_rng(0).uniform(0, 60, (6, 20, 24)).astype(np.float32)
    body = io.BytesIO()
    np.save(body, slices)
    answer = http_service.client.post(
        "/v1/restore?modality=PET&uncertainty=1", content=body.getvalue()
    )
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content)), slices, atol=1e-3)
