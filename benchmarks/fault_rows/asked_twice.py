"""F23: the same DICOM series restored again, alone and among other requests."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pydicom

from amir.client import Client
from amir.modality import Modality
from amir.phantoms import write_phantom_cohort
from benchmarks.fault_rows.client_load import load
from benchmarks.fault_rows.expected import Expectations
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.ray_service import ray_service, save_network

TARGET = "equal UIDs, at most one stored unit; NIfTI and arrays within 1e-5 of the range"
AGAIN = 5


def run(*, quick: bool) -> Outcome:
    """quick makes no difference: it takes seconds."""
    with tempfile.TemporaryDirectory(prefix="amir-faults-") as name:
        folder = Path(name)
        saved = save_network(folder / "model")
        series = zipped_series(folder)
        models, engine = {"champion": str(saved.folder)}, {"replica": {"cpus": 0.5}}
        with ray_service(folder, models=models, engine=engine) as service:
            client = Client(service.url)
            first = instances(client.restore(series).content)
            expected = Expectations(saved)
            with load(service.url, folder, clients=6, expected=expected) as others:
                again = [instances(client.restore(series).content) for _ in range(AGAIN)]
    equal = all(one.keys() == first.keys() for one in again)
    worst = max(
        int(np.abs(pixels - first[uid]).max())
        for one in again
        for uid, pixels in one.items()
        if uid in first
    )
    figure = (
        f"{len(first)} slices {AGAIN} times among others: UIDs {'equal' if equal else 'DIFFER'}, "
        f"largest difference {worst} stored units; arrays: {others.figure()}"
    )
    return Outcome(equal and worst <= 1 and others.holds, figure)


def zipped_series(folder: Path) -> Path:
    """A phantom's CT as a zip of DICOM files."""
    write_phantom_cohort(
        folder / "cohort",
        subjects_per_modality={"test": 1},
        size=48,
        slices=dict.fromkeys(Modality, 4),
    )
    path = folder / "series.zip"
    with zipfile.ZipFile(path, "w") as archive:
        files = [f for f in sorted((folder / "cohort").rglob("*.dcm")) if _is_ct(f)]
        of_one = [f for f in files if f.parent == files[0].parent]
        for file in of_one:
            archive.write(file, file.name)
    return path


def instances(content: bytes) -> dict[str, np.ndarray]:
    """Stored values by SOP instance UID."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        read = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    return {str(one.SOPInstanceUID): one.pixel_array.astype(np.int64) for one in read}


def _is_ct(file: Path) -> bool:
    return str(pydicom.dcmread(file, stop_before_pixels=True).Modality) == "CT"
