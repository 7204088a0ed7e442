"""Reading scans, simulating the degraded ones, and the whole preparation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from measures import Line, shortest

from amir import cluster
from amir.config import PrepareSettings
from amir.dataset.prepare import prepare, ray_map
from amir.degradations.by_modality import DEGRADATIONS
from amir.imaging import read_scan, to_plane, write_new_series, write_scan
from amir.modality import Modality
from amir.phantoms import phantom_scan, write_phantom_cohort

SIZES = {Modality.MRI: 256, Modality.CT: 512, Modality.PET: 128}


def ingest(folder: Path, quick: bool) -> Iterator[Line]:
    """Reading scans, one core; the files are in the page cache."""
    size, slices = (64, 4) if quick else (512, 30)
    scan = phantom_scan(Modality.CT, 0, size=size, slices=slices)
    write_new_series(scan, folder / "plain", patient_id="phantom", description="benchmark")
    for name in ("RLELossless", "JPEG2000Lossless"):
        compress(folder / "plain", folder / name, name)
    write_scan(scan, folder / "scan.nii.gz")
    write_scan(scan, folder / "scan.nii")
    for source, what in {
        "plain": "DICOM, uncompressed",
        "RLELossless": "DICOM, RLE",
        "JPEG2000Lossless": "DICOM, JPEG 2000 lossless",
        "scan.nii": "NIfTI",
        "scan.nii.gz": "NIfTI, gzip",
    }.items():
        seconds = shortest(partial(read_scan, folder / source, modality=Modality.CT), quick)
        yield Line(f"read/{source}", f"read {what}, {size} x {size}", slices / seconds, "slices/s")


def compress(source: Path, target: Path, syntax: str) -> None:
    """Copy a series in another transfer syntax."""
    import pydicom
    from pydicom import uid

    target.mkdir()
    for file in sorted(source.iterdir()):
        dataset = pydicom.dcmread(file)
        dataset.compress(getattr(uid, syntax), generate_instance_uid=False)
        dataset.save_as(target / file.name)


def degrade(folder: Path, quick: bool) -> Iterator[Line]:
    """Simulating the degraded scan, one core, with the default settings."""
    for modality, size in SIZES.items():
        size, count = (48, 2) if quick else (size, 8)
        scan = phantom_scan(modality, 0, size=size, slices=count)
        axial = to_plane(scan, "axial")
        call = partial(
            DEGRADATIONS[modality],
            axial.slices,
            spacing_mm=axial.spacing_mm,
            seeds=list(range(count)),
        )
        seconds = shortest(call, quick)
        what = f"degrade {modality}, {size} x {size}"
        yield Line(f"degrade/{modality}", what, seconds / count, "s/slice")


def scaling(folder: Path, quick: bool) -> Iterator[Line]:
    """The whole preparation on Ray, one and two scans at a time."""
    cluster.connect()
    size, subjects = (48, 1) if quick else (256, 4)
    cohort = write_phantom_cohort(
        folder / "cohort",
        subjects_per_modality={"train": subjects, "validation": 1, "test": 1},
        size=size,
    )
    rates = []
    for cores in (1, 2):
        settings = PrepareSettings(cohort=cohort, out=folder / f"on-{cores}")
        start = time.perf_counter()
        manifest = prepare(settings, each=partial(ray_map, at_once=cores))
        slices = sum(manifest.slices(split) for split in ("train", "validation", "test"))
        rates.append(slices / (time.perf_counter() - start))
        what = f"prepare phantoms of {size} x {size}, {cores} at a time"
        yield Line(f"prepare/{cores}", what, rates[-1], "slices/s")
    yield Line("prepare/scaling", "from 1 to 2 cores", rates[1] / rates[0], "times")
