"""F19: the smallest and the largest images, and the shortest and the longest series."""

from __future__ import annotations

import gzip
import time

import nibabel
import numpy as np
from numpy.typing import NDArray

from amir.modality import Modality
from benchmarks.fault_rows.attacked import attacked, code_of, send
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.strange_numbers import nifti, sound_voxels

TARGET = (
    "every size is restored, finite, tiled as if whole within 1e-3 of the range; or 413; a single "
    "voxel, an image of one value, is refused as empty"
)
_SIZES = [(1, 1, 2), (17, 23, 1), (23, 17, 5), (1, 500, 2), (512, 512, 1), (16, 16, 3000)]
_SINGLE = (1, 1, 1)
_LARGE = (4096, 4096, 1)
_BEYOND = (4096, 4096, 40)
_TOLERANCE = 1e-3 * 4095


def run(*, quick: bool) -> Outcome:
    """quick: tiles are compared with whole slices of a quarter of the largest size."""
    wrong, slowest = [], 0.0
    with attacked() as service:
        for shape in [*_SIZES, _LARGE]:
            start = time.monotonic()
            answer = send(service, nifti(sound_voxels(Modality.CT, shape)), Modality.CT)
            slowest = max(slowest, time.monotonic() - start)
            if code_of(answer) or _voxels(answer.content).shape != shape:
                wrong.append(f"{shape}: {answer.status_code} {code_of(answer)}")
        single = send(service, nifti(sound_voxels(Modality.CT, _SINGLE)), Modality.CT)
        if code_of(single) != "empty":
            wrong.append(f"{_SINGLE}: {single.status_code} {code_of(single)}")
        refused = send(service, nifti(np.zeros(_BEYOND, np.float32)), Modality.CT)
        if refused.status_code != 413:
            wrong.append(f"{_BEYOND}: {refused.status_code}")
    difference = _tiled_against_whole((1024, 1024, 1) if quick else (2048, 2048, 1))
    figure = (
        f"{len(_SIZES) + 1} sizes up to {_LARGE[:2]} and {_SIZES[-1][2]} slices, slowest "
        f"{slowest:.1f} s; tiles differ from the whole by {difference:.2g} HU; wrong: "
        f"{', '.join(wrong) or 'none'}"
    )
    return Outcome(not wrong and difference < _TOLERANCE, figure)


def _tiled_against_whole(shape: tuple[int, int, int]) -> float:
    """The largest difference in HU."""
    content = nifti(sound_voxels(Modality.CT, shape))
    answers = []
    for pixels in (shape[0] * shape[1] // 4, shape[0] * shape[1]):
        with attacked(engine={"tile": {"pixels": pixels}}) as service:
            answers.append(_voxels(send(service, content, Modality.CT).content))
    return float(np.abs(answers[0] - answers[1]).max())


def _voxels(content: bytes) -> NDArray[np.floating]:
    voxels = np.asanyarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj)
    if not np.isfinite(voxels).all():
        raise ValueError("NaN or infinity in an answer")
    return voxels
