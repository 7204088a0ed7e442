"""A small synthetic cohort, written as the DICOM series and NIfTI volumes that scanners would give.

Subjects differ in anatomy, contrast and noise; all of it follows from the subject's number.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from amir.imaging import Scan, write_new_series, write_scan
from amir.modality import MODELLING_RANGES, Modality
from amir.phantom_anatomy import Grid, Volume, abdomen_ct, head_t2, trunk_fdg

SLICES = {Modality.MRI: 10, Modality.CT: 8, Modality.PET: 48}
# Width and depth of the field of view, and height of the stack.
EXTENT_MM = {Modality.MRI: (220.0, 60.0), Modality.CT: (350.0, 80.0), Modality.PET: (400.0, 360.0)}
POINT_SPREAD = 0.8  # standard deviation in pixels; degraded heads then score as real ones do
ANATOMY: dict[Modality, Callable[[np.random.Generator, Grid], Volume]] = {
    Modality.MRI: head_t2,
    Modality.CT: abdomen_ct,
    Modality.PET: trunk_fdg,
}
COLUMNS = ("patient_id", "modality", "target", "degraded", "split")


def phantom_scan(
    modality: Modality, subject: int, *, size: int = 128, slices: int | None = None
) -> Scan:
    """One subject's scan [size, size, slices], axial, in its unit; the same each time."""
    count = SLICES[modality] if slices is None else slices
    width, height = EXTENT_MM[modality]
    grid = Grid((size, size, count), (width / size, width / size, height / count))
    scanner = list(Modality).index(modality)
    generator = np.random.Generator(np.random.Philox([subject, scanner]))
    image = NOISE[modality](generator, ANATOMY[modality](generator, grid))
    return Scan(image, grid.affine, modality, MODELLING_RANGES[modality].unit)


def _rician(generator: np.random.Generator, image: Volume) -> Volume:
    """The scanner's point spread and gain; noise of 0.5 to 1.5 % of white matter per channel."""
    gain, deviation = generator.uniform(0.6, 1.8), generator.uniform(4, 12)
    image = ndimage.gaussian_filter(image, (POINT_SPREAD, POINT_SPREAD, 0))
    real, imaginary = generator.standard_normal((2, *image.shape), np.float32) * deviation
    return np.asarray(np.hypot(image + real, imaginary) * gain, np.float32)


def _ramp_like(generator: np.random.Generator, image: Volume) -> Volume:
    """Noise of 16 to 28 HU, as in thin slices, without the low frequencies that FBP suppresses."""
    white = generator.standard_normal(image.shape, np.float32)
    grains = [ndimage.gaussian_filter(white, (width, width, 0)) for width in (0.6, 1.5)]
    noise = grains[0] - grains[1]
    deviation = generator.uniform(16, 28) / noise.std()
    return np.asarray(np.maximum(image + noise * deviation, -1024), np.float32)


def _count_like(generator: np.random.Generator, image: Volume) -> Volume:
    """Grains of 3 to 6 % that grow with the signal, as OSEM leaves them."""
    white = generator.standard_normal(image.shape, np.float32)
    grains = ndimage.gaussian_filter(white, (1.0, 1.0, 0.4))
    share = generator.uniform(0.03, 0.06) / grains.std()
    return np.asarray(np.maximum(image * (1 + share * grains), 0), np.float32)


NOISE: dict[Modality, Callable[[np.random.Generator, Volume], Volume]] = {
    Modality.MRI: _rician,
    Modality.CT: _ramp_like,
    Modality.PET: _count_like,
}


def write_phantom_cohort(
    folder: Path,
    *,
    subjects_per_modality: Mapping[str, int],
    size: int = 128,
    slices: Mapping[Modality, int] = SLICES,
    seed: int = 0,
) -> Path:
    """Write the subjects' files and cohort.csv into a folder; returns the path of cohort.csv.

    subjects_per_modality: how many of each modality go to each split. MRI is written as NIfTI, CT
    and PET as DICOM series; the degraded scans are left to be simulated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for modality in Modality:
        splits = [split for split, count in subjects_per_modality.items() for _ in range(count)]
        for number, split in enumerate(splits):
            patient = f"phantom-{modality.lower()}-{number:03d}"
            scan = phantom_scan(modality, 1000 * seed + number, size=size, slices=slices[modality])
            target = _write(scan, folder, patient)
            rows.append((patient, str(modality), target, "", split))
    return _write_table(rows, folder / "cohort.csv")


def _write(scan: Scan, folder: Path, patient: str) -> str:
    """Write one scan; returns its path relative to the folder."""
    if scan.modality is Modality.MRI:
        write_scan(scan, folder / f"{patient}.nii.gz")
        return f"{patient}.nii.gz"
    write_new_series(scan, folder / patient, patient_id=patient, description="AMIR phantom")
    return patient


def _write_table(rows: Iterable[tuple[str, ...]], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path
