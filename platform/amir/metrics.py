"""PSNR, SSIM and RMSE of a slice, exactly as the paper's test script scores them; and MS-SSIM.

Not scikit-image's nor MONAI's SSIM: those leave the border out or weight otherwise and differ by
up to 3e-3.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from amir.modality import SCORING_RANGES, Modality

WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
WINDOW = np.exp(-((np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2) ** 2) / (2 * WINDOW_SIGMA**2))
WINDOW /= WINDOW.sum()
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, finest first
SMALLEST_SIDE = (WINDOW_SIZE - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1  # for MS-SSIM: 161

Image = NDArray[np.float64]


class Score(NamedTuple):
    """One slice's scores."""

    psnr: float
    """dB; -inf for a constant target, which says nothing and is to be left out of averages."""

    ssim: float
    """At most 1."""

    rmse: float
    """In the modality's unit: a.u., HU or SUV."""


def score_slice(restored: Any, target: Any, modality: Modality) -> Score:
    """Scores of one slice [H, W], tensors or arrays in physical units.

    Both are clipped to the scoring range (copies; CT to -160..240 HU). The data range is that of
    the clipped target.
    """
    limits = SCORING_RANGES[modality]
    restored, target = limits.clip(_float64(restored)), limits.clip(_float64(target))
    data_range = float(target.max() - target.min())
    return Score(
        psnr(restored, target, data_range),
        ssim(restored, target, data_range),
        rmse(restored, target),
    )


def psnr(restored: Any, target: Any, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB over all pixels: inf if equal, -inf for data range zero."""
    return psnr_of(rmse(restored, target), data_range)


def psnr_of(error: float, data_range: float) -> float:
    """The same, from the root mean squared error."""
    if data_range == 0:
        return -math.inf
    return math.inf if error == 0 else 20 * math.log10(data_range / error)


def rmse(restored: Any, target: Any) -> float:
    """Root mean squared error over all pixels, in the images' unit."""
    return math.sqrt(np.square(_float64(restored) - _float64(target)).mean())


def ssim(restored: Any, target: Any, data_range: float) -> float:
    """Structural similarity, averaged over the whole map: 11 x 11 Gaussian, zeros outside.

    restored, target: [..., H, W]. Not defined (nan) where both images and the data range are zero.
    """
    return local_moments(restored, target).ssim(data_range)


def ms_ssim(
    restored: Any, target: Any, data_range: float, moments: LocalMoments | None = None
) -> float:
    """Multi-scale SSIM (Wang, Simoncelli, Bovik 2003): five scales, 2 x 2 means between them.

    restored, target: [H, W], both sides at least SMALLEST_SIDE. moments: theirs, if already known.
    The window is that of `ssim`, zeros outside; a negative mean contrast counts as zero.
    """
    x, y = _float64(restored), _float64(target)
    moments = moments or local_moments(x, y)
    product = 1.0
    for weight in SCALE_WEIGHTS[:-1]:
        product *= max(0.0, moments.contrast(data_range)) ** weight
        x, y = _halved(x), _halved(y)
        moments = local_moments(x, y)
    return float(product * max(0.0, moments.ssim(data_range)) ** SCALE_WEIGHTS[-1])


class LocalMoments(NamedTuple):
    """Weighted moments of two images around every pixel, [..., H, W]: SSIM but for a data range."""

    mean_product: Image
    mean_squares: Image
    covariance: Image
    variances: Image
    """The sum of both."""

    def ssim(self, data_range: float) -> float:
        """Mean over the map of luminance times contrast and structure."""
        c1 = (0.01 * data_range) ** 2
        with np.errstate(invalid="ignore"):
            luminance = (2 * self.mean_product + c1) / (self.mean_squares + c1)
            return float((luminance * self._contrast(data_range)).mean())

    def contrast(self, data_range: float) -> float:
        """Mean over the map of contrast and structure alone."""
        return float(self._contrast(data_range).mean())

    def _contrast(self, data_range: float) -> Image:
        c2 = (0.03 * data_range) ** 2
        contrast: Image = (2 * self.covariance + c2) / (self.variances + c2)
        return contrast


def local_moments(restored: Any, target: Any) -> LocalMoments:
    """Moments of [..., H, W] under the 11 x 11 Gaussian window, zeros outside the images."""
    x, y = _float64(restored), _float64(target)
    mean_x, mean_y, mean_of_squares, mean_of_product = map(_blur, (x, y, x * x + y * y, x * y))
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    return LocalMoments(product, squares, mean_of_product - product, mean_of_squares - squares)


def _float64(image: Any) -> Image:
    """Own precision: squares of 12-bit intensities leave float32 too few digits for a variance."""
    return np.asarray(image, np.float64)


def _halved(image: Image) -> Image:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _blur(image: Image) -> Image:
    """[..., H, W] weighted by the Gaussian window along both axes.

    One axis after the other: fifty times faster on a CPU than torch's convolution with one channel,
    and other threads go on meanwhile.
    """
    for axis in (-2, -1):
        image = correlate1d(image, WINDOW, axis=axis, mode="constant")
    return image
