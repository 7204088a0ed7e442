"""A patient's name in a scan's header reaches nothing that preparing and training write."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pydicom
import pytest

from amir.command_line import validate
from amir.config import PrepareSettings, TrainSettings
from amir.dataset.prepare import prepare
from amir.dataset.preview import write_preview
from amir.imaging import write_new_series
from amir.modality import Modality
from amir.phantoms import phantom_scan
from amir.training.ray_trainer import run

CANARIES = {
    "PatientName": "CANARY^NAME",
    "PatientID": "CANARYID",
    "PatientBirthDate": "19120623",
    "InstitutionName": "CANARYHOSPITAL",
    "ReferringPhysicianName": "CANARY^DOCTOR",
    "AccessionNumber": "CANARY77",
    "PatientComments": "CANARYCOMMENT",
}


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """CT series that name their patient; one of them is broken in a way that is described."""
    rows = [("patient_id", "modality", "target", "split")]
    for number, split in enumerate(("train", "train", "validation", "test", "train")):
        folder = tmp_path / "scans" / f"ct-{number}"
        scan = phantom_scan(Modality.CT, number, size=32, slices=3)
        write_new_series(scan, folder, patient_id="CANARYID")
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            for name, value in CANARIES.items():
                setattr(dataset, name, value)
            if number == 4:
                del dataset.RescaleSlope
            dataset.save_as(path)
        rows.append((f"p{number}", "CT", f"scans/ct-{number}", split))
    with (tmp_path / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "cohort.csv"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_no_file_log_or_mlflow_entry_holds_a_canary(
    cohort: Path,
    tmp_path: Path,
    tiny_network: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "made"
    chosen = PrepareSettings(cohort=cohort, out=out / "data", bad_scans="skip")
    with caplog.at_level(logging.DEBUG):
        manifest = prepare(chosen, each=map)
        write_preview(chosen.out, manifest)
        tree = {
            "data": {"path": chosen.out, "crop": 16, "tasks": ["CT"]},
            "storage": out / "storage",
            "run": "canary",
            "steps": 2,
            "batch": 2,
            "model": tiny_network,
            "validation": {"every": 2, "slices": 1},
        }
        run(validate(TrainSettings, tree))
    assert len(manifest.refused) == 1

    canaries = [text.encode() for value in CANARIES.values() for text in {value, value.lower()}]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"manifest.json", "preview.html", "mlflow.db", "00000.parquet"} <= {
        f.name for f in files
    }
    told = (caplog.text + "".join(capfd.readouterr())).encode()
    for content in (told, *(path.read_bytes() for path in files)):
        assert not any(canary in content for canary in canaries)
    scans = [path.read_bytes() for path in (tmp_path / "scans").rglob("*.dcm")]
    assert CANARIES["PatientName"].encode() in scans[0]
