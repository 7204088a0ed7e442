"""Scanner files in, restored files of the same kind out; or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amir.checkpoint import Checkpoint
from amir.config import RestoreSettings
from amir.errors import InputError
from amir.imaging import Scan, read_scan, write_new_series, write_scan
from amir.inference.files import restore_file
from amir.inference.tasks import TASKS, derivation
from amir.modality import Modality
from amir.phantoms import phantom_scan


@pytest.fixture
def settings(
    save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> Callable[..., RestoreSettings]:
    """Settings with a tiny model and an output folder of its own."""
    model = save_checkpoint(tmp_path / "model").folder

    def make(source: Path, out: str, **more: object) -> RestoreSettings:
        return RestoreSettings(model=str(model), input=source, out=tmp_path / "out" / out, **more)

    return make


def head(folder: Path) -> Path:
    write_scan(phantom_scan(Modality.MRI, 0, size=32, slices=3), folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def refusal(settings: RestoreSettings, code: str) -> str:
    with pytest.raises(InputError) as caught:
        restore_file(settings)
    assert caught.value.code == code
    assert not settings.out.exists()
    assert not settings.out.parent.exists() or list(settings.out.parent.iterdir()) == []
    return str(caught.value)


def test_a_nifti_volume_is_restored_to_one_on_the_same_grid(
    settings: Callable[..., RestoreSettings], tmp_path: Path
) -> None:
    chosen = settings(head(tmp_path), "restored.nii.gz", modality="MRI")
    restoration = restore_file(chosen).restoration
    written, source = (
        read_scan(path, modality=Modality.MRI) for path in (chosen.out, chosen.input)
    )
    np.testing.assert_allclose(written.affine, source.affine)
    np.testing.assert_array_equal(written.voxels, restoration.scan.voxels)
    assert np.abs(written.voxels - source.voxels).max() > 0


@pytest.mark.parametrize("modality", [Modality.CT, Modality.PET])
def test_a_dicom_series_is_restored_to_a_derived_series(
    modality: Modality, settings: Callable[..., RestoreSettings], tmp_path: Path
) -> None:
    scan = phantom_scan(modality, 0, size=32, slices=16)
    write_new_series(scan, tmp_path / "series", patient_id="p")
    chosen = settings(tmp_path / "series", "derived")
    restoration = restore_file(chosen).restoration
    written = read_scan(chosen.out)
    assert written.modality is modality
    assert len(list(chosen.out.iterdir())) == 16
    span = float(np.ptp(restoration.scan.voxels))
    np.testing.assert_allclose(written.voxels, restoration.scan.voxels, atol=0.5 + 1e-3 * span)


def test_what_is_there_is_never_overwritten(
    settings: Callable[..., RestoreSettings], tmp_path: Path
) -> None:
    chosen = settings(head(tmp_path), "restored.nii", modality="MRI")
    chosen.out.parent.mkdir()
    chosen.out.write_text("precious")
    with pytest.raises(InputError, match=r"restored\.nii exists; choose another --out"):
        restore_file(chosen)
    assert chosen.out.read_text() == "precious"


def test_wrong_input_writes_nothing(
    settings: Callable[..., RestoreSettings], tmp_path: Path
) -> None:
    scan = head(tmp_path)
    (tmp_path / "broken.nii").write_bytes(b"no volume")
    broken = settings(tmp_path / "broken.nii", "a.nii", modality="CT")
    assert "broken.nii is not a readable NIfTI" in refusal(broken, "unreadable")
    assert "give modality" in refusal(settings(scan, "a.nii"), "wrong_modality")
    assert "does not exist" in refusal(settings(tmp_path / "none.nii", "a.nii"), "missing_file")
    folder = settings(scan, "folder", modality="MRI")
    assert "needs a scan read from DICOM" in refusal(folder, "unsupported")
    unknown = settings(scan, "a.nii", modality="MRI").model_copy(update={"model": "nobody"})
    assert "no run 'nobody'" in refusal(unknown, "unknown_model")


def test_the_derivation_says_which_model_did_what() -> None:
    said = derivation(Modality.CT, network="amir", version="7", model_digest="ab" * 32, options={})
    assert (said.model_digest, said.model_name, said.model_version) == ("ab" * 32, "amir", "7")
    assert said.task == "ct-denoise"
    assert TASKS.keys() == set(Modality)


def test_the_report_tells_doubts_and_uncertainty(
    settings: Callable[..., RestoreSettings], tmp_path: Path
) -> None:
    chosen = settings(
        head(tmp_path),
        "restored.nii.gz",
        modality="MRI",
        uncertainty=2,
        upsample=2,
        report=tmp_path / "report.json",
    )
    restored = restore_file(chosen)
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["model"] == restored.restoration.model_digest
    assert told["voxels"] == 64 * 64 * 3
    assert told["outlier_score"] is None
    assert told["uncertainty"]["median"] > 0
    written = read_scan(chosen.out, modality=Modality.MRI)
    assert written.voxels.shape == (64, 64, 3)
    again = settings(chosen.input, "other.nii", modality="MRI", report=tmp_path / "report.json")
    with pytest.raises(InputError, match="choose another --report"):
        restore_file(again)
    assert not again.out.exists()


def test_a_scan_of_one_value_is_refused_before_anything_is_written(
    settings: Callable[..., RestoreSettings], tmp_path: Path
) -> None:
    flat = Scan(np.full((16, 16, 3), 7), np.eye(4), Modality.MRI, "a.u.")
    write_scan(flat, tmp_path / "flat.nii")
    chosen = settings(tmp_path / "flat.nii", "out.nii", modality="MRI")
    assert "every voxel of the scan is 7" in refusal(chosen, "empty")
    flagged = settings(
        tmp_path / "flat.nii", "flagged.nii", modality="MRI", trust={"empty": "flag"}
    )
    assert [flag.code for flag in restore_file(flagged).flags] == ["empty"]
