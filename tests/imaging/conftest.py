"""Small synthetic scans, the series written from them, and the validators of the distribution."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from amir.errors import InputError
from amir.imaging import Derivation, Scan, read_scan, write_new_series
from amir.modality import MODELLING_RANGES, Modality

AFFINE = np.array([[1.5, 0, 0, -20], [0, 2.0, 0, -30], [0, 0, 3.0, -10], [0, 0, 0, 1.0]])


@pytest.fixture
def affine() -> np.ndarray:
    return AFFINE.copy()


@pytest.fixture
def make_scan() -> Callable[..., Scan]:
    """Random voxels over the modelling range; whole numbers where files hold whole numbers."""

    def make(modality: Modality, shape: tuple[int, int, int] = (10, 12, 5)) -> Scan:
        limits = MODELLING_RANGES[modality]
        voxels = np.random.default_rng(7).uniform(limits.lower, limits.upper, shape)
        if modality is not Modality.PET:
            voxels = np.rint(voxels)
        return Scan(voxels.astype(np.float32), AFFINE, modality, limits.unit)

    return make


@pytest.fixture
def derivation() -> Derivation:
    return Derivation("amir", "3", "ab" * 32, "ct-denoise", {"plane": "axial"})


@pytest.fixture
def new_series(
    tmp_path: Path, make_scan: Callable[..., Scan], change: Callable[..., None]
) -> Callable[[Modality], Path]:
    """Writes a five-slice series of a modality with a PatientName that no message may quote."""

    def write(modality: Modality) -> Path:
        folder = tmp_path / f"series-{modality}"
        write_new_series(make_scan(modality), folder, patient_id="phantom-1")
        change(folder, lambda dataset, _: setattr(dataset, "PatientName", "CANARY^SECRET"))
        return folder

    return write


@pytest.fixture
def change() -> Callable[..., None]:
    """Alters every file of a series by a function of its dataset and its place in the folder."""

    def alter_all(folder: Path, alter: Callable[[Dataset, int], object]) -> None:
        for index, path in enumerate(sorted(folder.iterdir())):
            dataset = pydicom.dcmread(path)
            alter(dataset, index)
            dataset.save_as(path)

    return alter_all


@pytest.fixture(scope="session")
def whole_body_pet(real_scans: Path) -> Scan:
    return read_scan(real_scans / "pet" / "sub-p01_wholebodyFDG_dicom")


@pytest.fixture
def refusals() -> Callable[[Path, Iterable[bytes]], list[str]]:
    """What a file is refused with, as often as it is, when it holds each of these in turn; an error
    of any other kind fails the test.
    """

    def read_each(path: Path, contents: Iterable[bytes]) -> list[str]:
        said = []
        for content in contents:
            path.write_bytes(content)
            try:
                read_scan(path)
            except InputError as error:
                said.append(str(error))
        return said

    return read_each


@pytest.fixture
def validator_errors() -> Callable[[Path], set[str]]:
    """The errors that dicom3tools' dciodvfy finds in a file."""

    def errors(path: Path) -> set[str]:
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
        return {line for line in done.stderr.splitlines() if line.startswith("Error")}

    return errors


@pytest.fixture
def entity_errors() -> Callable[[Iterable[Path]], str]:
    """What dicom3tools' dcentvfy objects to in files taken together, such as a UID used twice."""

    def errors(paths: Iterable[Path]) -> str:
        done = subprocess.run(
            ["dcentvfy", *paths], capture_output=True, text=True, errors="replace"
        )
        return done.stderr + done.stdout

    return errors
