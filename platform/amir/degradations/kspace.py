"""MRI at low resolution: only the centre of k-space is kept, as if the scan had stopped early.

Source: the paper, section 3.1 (the central 6.25 % of k-space, a quarter of each axis, magnitude).

A scanner's k-space is complex and, with several coils, one per coil; what archives hold, and what
this platform reads, is the magnitude after both were combined. Its phase is taken as zero, so its
k-space is Hermitian and not the one measured: cropping it cannot show what cropping the phase would
have done (partial cancellation at edges of the phase). Complex slices keep theirs. Which of the two
it was stands with the result, as `phase`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from amir.degradations.outcome import Degraded
from amir.degradations.seeding import check_bounds, check_slices, slice_generator

# How many times fewer lines: on both axes, or along the columns and along the rows of a slice.
Factor = int | tuple[int, int]


def crop_kspace(
    image: NDArray[Any], *, factor: Factor = 4, noise: float = 0.0, seed: int | None = None
) -> NDArray[np.float32]:
    """The magnitude image that the centre of k-space gives; same size, detail is lost.

    image: [..., H, W], magnitude or complex, arbitrary units. factor: one for both axes, or (of H,
    of W). noise: standard deviation, in the image's units, of the real and of the imaginary channel
    of the fully sampled image (Rician after the magnitude, Gudbjartsson and Patz, Magn Reson Med
    34(6), 1995); the kept lines carry their share of it. Noise needs a seed.
    """
    kept = keep_central_kspace(image, factor=factor)
    if noise > 0:
        if seed is None:
            raise ValueError("noise without a seed cannot be repeated; pass seed=")
        kept = kept + keep_central_kspace(_complex_noise(image.shape, noise, seed), factor=factor)
    return np.asarray(np.abs(kept), np.float32)


def keep_central_kspace(image: NDArray[Any], *, factor: Factor) -> NDArray[np.complexfloating]:
    """The complex image of the centre of k-space; kept lines are untouched, the others are zero.

    image: [..., H, W], real or complex. Energy follows Parseval: it is that of the kept lines.
    """
    sizes, factors = image.shape[-2:], per_axis(factor)
    for size, each in zip(sizes, factors, strict=True):
        check_bounds("factor", each, 1, size)
    spectrum = fft.fftn(image, axes=(-2, -1))
    spectrum *= np.outer(*map(_kept_lines, sizes, factors))
    return np.asarray(fft.ifftn(spectrum, axes=(-2, -1)))


def per_axis(factor: Factor) -> tuple[int, int]:
    """(of H, of W)."""
    return (factor, factor) if isinstance(factor, int) else factor


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


def detail_beyond(slices: NDArray[Any], *, factor: int) -> float:
    """How much detail lies outside the centre of k-space that `crop_kspace` keeps.

    slices: [n, H, W]. The mean amplitude of the lines outside over that of those inside, but for
    the mean; 0 for constant slices. Not 0 once the outer lines were cropped: the magnitude brings
    a little back.
    """
    if factor == 1:
        return 0.0
    sizes = slices.shape[-2:]
    kept = np.outer(*(_kept_lines(size, min(factor, size)) for size in sizes)) > 0
    amplitude = np.abs(fft.fft2(slices.astype(np.float32))).mean(axis=0)
    outside = amplitude[~kept]
    kept[0, 0] = False
    inside = amplitude[kept]
    if not inside.size or not outside.size or inside.mean() == 0:
        return 0.0
    return float(outside.mean() / inside.mean())


def _complex_noise(shape: tuple[int, ...], deviation: float, seed: int) -> NDArray[np.complex64]:
    generator = slice_generator(seed)
    real, imaginary = generator.standard_normal((2, *shape), dtype=np.float32) * deviation
    return np.asarray(real + 1j * imaginary, dtype=np.complex64)


def lower_resolution(
    slices: NDArray[Any],
    *,
    spacing_mm: tuple[float, float, float],
    seeds: Sequence[int],
    factor: Factor = 4,
    noise: float = 0.0,
    signal: float | None = None,
) -> Degraded:
    """MRI slices with and without the outer k-space.

    slices: [n, H, W], arbitrary units, magnitude or complex; the target is their magnitude. Axial,
    so H is the patient's front to back. noise: a fraction of `signal`, the scan's maximum (None:
    the maximum of these slices); it comes on top of what noise the scan has.
    """
    check_slices(slices, seeds)
    target = np.abs(slices) if np.iscomplexobj(slices) else slices
    parameters: dict[str, Any] = {
        "name": "kspace",
        "factor": factor if isinstance(factor, int) else list(factor),
        "noise": noise,
        "phase": "measured" if np.iscomplexobj(slices) else "zero",
    }
    if noise > 0:
        signal = float(target.max()) if signal is None else signal
        parameters["signal"] = signal
    deviation = noise * (signal or 0.0)
    degraded = np.stack(
        [
            crop_kspace(image, factor=factor, noise=deviation, seed=seed)
            for image, seed in zip(slices, seeds, strict=True)
        ]
    )
    return Degraded(degraded, target.astype(np.float32), parameters)
