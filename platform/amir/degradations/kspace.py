"""MRI at low resolution: only the centre of k-space is kept, as if the scan had stopped early.

Source: the paper, section 3.1 (the central 6.25 % of k-space, a quarter of each axis, magnitude).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from amir.degradations.outcome import Degraded
from amir.degradations.seeding import check_bounds, check_slices, slice_generator


def crop_kspace(
    image: NDArray[Any], *, factor: int = 4, noise: float = 0.0, seed: int | None = None
) -> NDArray[np.float32]:
    """The magnitude image that the centre of k-space gives; same size, detail is lost.

    image: [..., H, W], magnitude or complex, arbitrary units. noise: standard deviation, in the
    image's units, of the real and of the imaginary channel of the fully sampled image (Rician after
    the magnitude); the kept lines carry their share of it. Noise needs a seed.
    """
    kept = keep_central_kspace(image, factor=factor)
    if noise > 0:
        if seed is None:
            raise ValueError("noise without a seed cannot be repeated; pass seed=")
        kept = kept + keep_central_kspace(_complex_noise(image.shape, noise, seed), factor=factor)
    return np.asarray(np.abs(kept), np.float32)


def keep_central_kspace(image: NDArray[Any], *, factor: int) -> NDArray[np.complexfloating]:
    """The complex image of the centre of k-space; kept lines are untouched, the others are zero.

    image: [..., H, W], real or complex. Energy follows Parseval: it is that of the kept lines.
    """
    check_bounds("factor", factor, 1, min(image.shape[-2:]))
    spectrum = fft.fftn(image, axes=(-2, -1))
    spectrum *= np.outer(*(_kept_lines(size, factor) for size in image.shape[-2:]))
    return np.asarray(fft.ifftn(spectrum, axes=(-2, -1)))


def _kept_lines(size: int, factor: int) -> NDArray[np.float32]:
    """1 for each kept line of one axis, in the order of `fft`; [size].

    round(size / factor) lines are kept, at least one, DC always among them. An odd number lies
    symmetrically about DC; of an even number the unpaired line is the most negative frequency, as
    in a scanner's own grid of 2n lines.
    """
    count = max(1, round(size / factor))
    frequency = fft.fftfreq(size, 1 / size)
    kept = (frequency >= -(count // 2)) & (frequency < (count + 1) // 2)
    return np.asarray(kept, np.float32)


def _complex_noise(shape: tuple[int, ...], deviation: float, seed: int) -> NDArray[np.complex64]:
    generator = slice_generator(seed)
    real, imaginary = generator.standard_normal((2, *shape), dtype=np.float32) * deviation
    return np.asarray(real + 1j * imaginary, dtype=np.complex64)


def lower_resolution(
    slices: NDArray[np.float32],
    *,
    spacing_mm: tuple[float, float, float],
    seeds: Sequence[int],
    factor: int = 4,
    noise: float = 0.0,
    signal: float | None = None,
) -> Degraded:
    """MRI slices with and without the outer k-space.

    slices: [n, H, W] magnitude, arbitrary units. Their phase is gone, and with several coils so
    are the coils: the phase is taken as zero. `crop_kspace` itself takes complex images.
    noise: a fraction of `signal`, the scan's maximum (None: the maximum of these slices).
    """
    check_slices(slices, seeds)
    parameters: dict[str, Any] = {"name": "kspace", "factor": factor, "noise": noise}
    if noise > 0:
        signal = float(slices.max()) if signal is None else signal
        parameters["signal"] = signal
    deviation = noise * (signal or 0.0)
    degraded = np.stack(
        [
            crop_kspace(image, factor=factor, noise=deviation, seed=seed)
            for image, seed in zip(slices, seeds, strict=True)
        ]
    )
    return Degraded(degraded, slices.astype(np.float32), parameters)
