"""The two halves of a restoration that touch files: run where a process may die of them.

Between the halves the scan lies in a folder: its slices as `degraded.npy`, which the engine's
answers turn into `restored.npy` and `deviation.npy`, and all else that it takes to write it as
`frame.pickle`, which nobody but this module reads.
"""

from __future__ import annotations

import gc
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.config import IntensityScale, TrustSettings
from amir.imaging import Derivation, Scan, from_plane, read_scan, write_single_file
from amir.imaging.choice import SEPARATOR
from amir.imaging.scan import check_voxel_count
from amir.imaging.upsampling import upsample
from amir.inference.scan_restoration import cut_scan
from amir.inference.trust.verdicts import Flag, check_scan
from amir.modality import TRAINING_PLANES, Modality
from serve.restoring.upload_kinds import DICOM, ZIP, UploadKind

DEGRADED, RESTORED, DEVIATION = "degraded.npy", "restored.npy", "deviation.npy"
FRAME = "frame.pickle"


@dataclass(frozen=True)
class CutUpload:
    """shape: of the slices, (n, height, width). scale: the scan's intensity scale.

    peak: its largest value. flags: doubts about the scan.
    """

    modality: Modality
    unit: str
    shape: tuple[int, int, int]
    scale: float
    peak: float
    flags: tuple[Flag, ...]
    seconds: float


@dataclass(frozen=True)
class WrittenScan:
    """kind: the upload's, but a zip where one multi-frame DICOM file became several."""

    path: Path
    kind: UploadKind
    saturated: int
    seconds: float


@dataclass(frozen=True)
class _Frame:
    """A scan without its voxels."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    modality: Modality
    unit: str
    source: Any


def cut_upload(
    upload: Path,
    folder: Path,
    *,
    modality: Modality | None,
    choose: str,
    upsampling: int,
    intensity: IntensityScale,
    trust: TrustSettings,
    kspace_factor: int,
    max_voxels: int,
) -> CutUpload:
    """Read an upload and lay its slices of the plane of training into a folder.

    choose: what of the upload is meant, as after the # of a path. upsampling: how many times as
    large the matrix becomes first; 1 leaves it. kspace_factor: by which the MR data of the model's
    training was cropped.
    """
    start = time.perf_counter()
    chosen = Path(f"{upload}{SEPARATOR}{choose}") if choose else upload
    scan = read_scan(chosen, modality=modality, max_voxels=max_voxels)
    if upsampling > 1:
        check_voxel_count((scan.voxels.size, upsampling**2), name="the scan", limit=max_voxels)
        scan = upsample(scan, upsampling, TRAINING_PLANES[scan.modality])
    cut = cut_scan(scan, intensity)
    flags = check_scan(
        cut.slices, scan.modality, trust, scale=cut.scale, kspace_factor=kspace_factor
    )
    np.save(folder / DEGRADED, cut.slices)
    frame = _Frame(scan.voxels.shape, scan.affine, scan.modality, scan.unit, scan.source)
    (folder / FRAME).write_bytes(pickle.dumps(frame, protocol=pickle.HIGHEST_PROTOCOL))
    count, height, width = cut.slices.shape
    return CutUpload(
        scan.modality,
        scan.unit,
        (count, height, width),
        cut.scale,
        float(cut.slices.max()),
        tuple(flags),
        time.perf_counter() - start,
    )


def write_restored(folder: Path, kind: UploadKind, derivation: Derivation) -> WrittenScan:
    """Write a folder's restored slices as a file of the kind that they came in."""
    start = time.perf_counter()
    restored = _scan_of(folder, RESTORED)
    if kind is DICOM and restored.voxels.shape[2] > 1:
        kind = ZIP
    path = folder / f"answer{kind.suffix}"
    saturated = write_single_file(restored, path, derivation)
    return WrittenScan(path, kind, saturated, time.perf_counter() - start)


def write_deviation(folder: Path, path: Path) -> None:
    """Write the standard deviation over the passes of a folder's slices as a volume to look at."""
    from amir.imaging.nifti_display import write_display_volume

    write_display_volume(_scan_of(folder, DEVIATION), path)


def _scan_of(folder: Path, slices: str) -> Scan:
    """A folder's scan with the intensities of one of its files of slices."""
    frame: _Frame = pickle.loads((folder / FRAME).read_bytes())
    blank = np.broadcast_to(np.float32(0), frame.shape)
    scan = Scan(blank, frame.affine, frame.modality, frame.unit, frame.source)
    return from_plane(
        np.load(folder / slices, mmap_mode="r"), scan, TRAINING_PLANES[frame.modality]
    )


def load_readers() -> None:
    """Import what reads and writes files, so that the first upload does not wait for it.

    None of that is garbage ever, and the collector need not go through it in the midst of a file.
    """
    import amir.imaging.dicom.read
    import amir.imaging.dicom.write
    import amir.imaging.nifti  # noqa: F401

    gc.freeze()
