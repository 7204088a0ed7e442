"""Synthetic heads and trunks: ellipsoids for organs, random fields for what is between them.

Each function returns one subject's anatomy [X, Y, Z] in physical units, without a scanner's noise;
everything that differs between subjects is drawn from the generator it is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a scan lie: an axial stack around the origin, RAS millimetres."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel to RAS: columns run to the patient's left, rows to the back, slices upwards."""
        step = np.array(self.spacing_mm) * (-1, -1, 1)
        affine = np.diag([*step, 1.0])
        affine[:3, 3] = -step * (np.array(self.shape) - 1) / 2
        return affine

    def coordinates(self) -> tuple[Volume, Volume, Volume]:
        """Right, front and up in millimetres, each broadcastable to the shape."""
        axes = np.ix_(*(np.arange(n, dtype=np.float32) for n in self.shape))
        affine = self.affine.astype(np.float32)
        x, y, z = (axes[k] * affine[k, k] + affine[k, 3] for k in range(3))
        return x, y, z


def ellipsoid(
    grid: Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> Volume:
    """1 inside, 0 outside, with an edge one pixel wide: [X, Y, Z]. Millimetres."""
    terms = (
        ((axis - c) / r) ** 2 for axis, c, r in zip(grid.coordinates(), centre, radii, strict=True)
    )
    radius = np.sqrt(sum(terms, np.float32(0)))
    edge = grid.spacing_mm[0] / min(radii[:2])
    return np.asarray(np.clip(0.5 + (1 - radius) / edge, 0, 1), np.float32)


def paint(image: Volume, where: Volume, value: float | Volume) -> Volume:
    """The image with a value (or another image) laid over it where the mask says."""
    return np.asarray(image + where * (value - image), np.float32)


def random_field(generator: np.random.Generator, grid: Grid, width_mm: float) -> Volume:
    """Smooth noise of unit variance whose grains measure about width_mm: [X, Y, Z]."""
    white = generator.standard_normal(grid.shape, np.float32)
    # Scanned slices are thick: grains reach further along the body than across it.
    sigma = [width_mm / 2.3548 / d for d in grid.spacing_mm[:2]]
    smooth = ndimage.gaussian_filter(white, [*sigma, 2 * width_mm / 2.3548 / grid.spacing_mm[2]])
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), np.float32)


def head_t2(generator: np.random.Generator, grid: Grid) -> Volume:
    """A T2-weighted head, arbitrary units: bright fluid, folded cortex, vessels, lesions."""
    g = generator
    wide, long = g.uniform(62, 72), g.uniform(80, 92)
    white, grey, fluid = g.uniform(380, 520), g.uniform(600, 780), g.uniform(1300, 1700)
    image = np.zeros(grid.shape, np.float32)
    for shell, value in ((12, g.uniform(450, 700)), (6, 120.0), (2, 0.8 * fluid)):
        image = paint(image, _head_shell(grid, wide + shell, long + shell), value)
    image = paint(image, _head_shell(grid, wide, long), _cortex(g, grid, white, grey, fluid))
    core = _head_shell(grid, 0.72 * wide, 0.76 * long)
    image = paint(image, core, white + 18 * random_field(g, grid, 3.0))
    image = _deep_structures(g, grid, image, wide, white, grey, fluid)
    image = _spots(g, grid, image, 14, (0.5 * wide, 0.6 * long), (1.5, 4.5), (900.0, 1500.0))
    image = _spots(g, grid, image, 30, (0.8 * wide, 0.8 * long), (0.8, 1.6), (100.0, 250.0))
    blurred = ndimage.gaussian_filter(image, [1.6 / 2.3548 / d for d in grid.spacing_mm])
    return np.asarray(blurred * _bias_field(g, grid), np.float32)


def _head_shell(grid: Grid, wide: float, long: float) -> Volume:
    return ellipsoid(grid, (0, 0, -10), (wide, long, 95))


def _cortex(
    generator: np.random.Generator, grid: Grid, white: float, grey: float, fluid: float
) -> Volume:
    """Folds: fluid where a random field crosses zero, grey matter beside it, white beyond."""
    field = np.abs(random_field(generator, grid, 15.0))
    image = np.full(grid.shape, white, np.float32)
    image = paint(image, np.clip((0.75 - field) / 0.2, 0, 1), grey)
    return paint(image, np.clip((0.17 - field) / 0.12, 0, 1), fluid)


def _deep_structures(
    g: np.random.Generator,
    grid: Grid,
    image: Volume,
    wide: float,
    white: float,
    grey: float,
    fluid: float,
) -> Volume:
    """Ventricles, their horns, the thalami and the midline."""
    size = g.uniform(0.8, 1.4)
    for side in (-1, 1):
        thalamus = ellipsoid(grid, (side * 0.25 * wide, -6, -5), (10, 15, 14))
        image = paint(image, thalamus, 0.7 * grey + 0.3 * white)
        image = paint(image, ellipsoid(grid, (side * 9 * size, 12, 8), (5 * size, 22, 16)), fluid)
        image = paint(image, ellipsoid(grid, (side * 14 * size, -26, 4), (6 * size, 14, 14)), fluid)
    return paint(image, ellipsoid(grid, (0, 62, 5), (1.4, 24, 60)), fluid)


def _bias_field(generator: np.random.Generator, grid: Grid) -> Volume:
    """What a coil does: a smooth gain around 1."""
    scaled = [axis / 110 for axis in grid.coordinates()]
    gain = sum(
        (generator.uniform(-0.12, 0.12) * a + generator.uniform(-0.1, 0.05) * a**2 for a in scaled),
        np.float32(1),
    )
    return np.asarray(gain, np.float32)


def _spots(
    g: np.random.Generator,
    grid: Grid,
    image: Volume,
    count: int,
    reach: tuple[float, float],
    radius_mm: tuple[float, float],
    values: tuple[float, float],
    centre: tuple[float, float] = (0.0, 0.0),
) -> Volume:
    """Small ellipsoids strewn over an ellipse in plane and over the height of the stack."""
    height = grid.shape[2] * grid.spacing_mm[2] / 2
    for _ in range(count):
        angle, distance = g.uniform(0, 2 * np.pi), np.sqrt(g.uniform(0, 1))
        place = (
            centre[0] + reach[0] * distance * np.cos(angle),
            centre[1] + reach[1] * distance * np.sin(angle),
            g.uniform(-height, height),
        )
        radius = g.uniform(*radius_mm)
        radii = (radius * g.uniform(0.7, 1.3), radius * g.uniform(0.7, 1.3), 2 * radius)
        image = paint(image, ellipsoid(grid, place, radii), g.uniform(*values))
    return image


def abdomen_ct(generator: np.random.Generator, grid: Grid) -> Volume:
    """An upper abdomen in HU with lung bases, contrast in the vessels, and faint liver lesions."""
    g = generator
    wide, deep = g.uniform(140, 160), g.uniform(95, 115)
    image = np.full(grid.shape, -1000, np.float32)
    image = paint(image, ellipsoid(grid, (0, 0, 0), (wide, deep, 900)), 25.0)
    fat = g.uniform(10, 22)
    image = paint(image, ellipsoid(grid, (0, 0, 0), (wide - 2, deep - 2, 900)), -100.0)
    image = paint(image, ellipsoid(grid, (0, 0, 0), (wide - fat, deep - fat, 900)), 55.0)
    image = paint(image, ellipsoid(grid, (0, 3, 0), (wide - fat - 14, deep - fat - 12, 900)), -85.0)
    image = image + 5 * random_field(g, grid, 8.0) * (image > -900)
    image = _ribs(g, grid, image, wide - fat - 7, deep - fat - 6)
    image = _organs(g, grid, image)
    image = _lungs(g, grid, image)
    return _spine_and_aorta(g, grid, image, deep)


def _ribs(g: np.random.Generator, grid: Grid, image: Volume, wide: float, deep: float) -> Volume:
    for angle in np.arange(0.15, 2 * np.pi, 0.45) + g.uniform(-0.1, 0.1):
        place = (wide * np.cos(angle), deep * np.sin(angle), g.uniform(-20, 20))
        image = paint(image, ellipsoid(grid, place, (9, 6, 40)), g.uniform(350, 650))
        image = paint(image, ellipsoid(grid, place, (5, 3, 36)), 180.0)
    return image


def _organs(g: np.random.Generator, grid: Grid, image: Volume) -> Volume:
    """Liver with vessels and lesions, spleen, stomach, kidneys."""
    liver = g.uniform(85, 120)
    tissue = liver + 4 * random_field(g, grid, 6.0)
    place = (g.uniform(48, 58), g.uniform(5, 15))
    image = paint(image, ellipsoid(grid, (*place, -5), (62, 62, 80)), tissue)
    image = paint(image, ellipsoid(grid, (0, 38, -5), (45, 28, 60)), tissue)
    image = _spots(g, grid, image, 12, (45, 42), (2.5, 5), (liver + 30, liver + 60), place)
    image = _spots(g, grid, image, 7, (42, 40), (4, 10), (liver - 45, liver - 20), place)
    image = paint(image, ellipsoid(grid, (-78, -18, 0), (24, 38, 50)), g.uniform(100, 130))
    image = paint(image, ellipsoid(grid, (-48, 35, 0), (34, 26, 60)), g.uniform(0, 30))
    for side in (-1, 1):
        kidney = ellipsoid(grid, (side * 55, -48, -30), (22, 17, 45))
        image = paint(image, kidney, g.uniform(150, 200))
    return image


def _lungs(g: np.random.Generator, grid: Grid, image: Volume) -> Volume:
    """The bases, behind and beside the liver, seen in the upper slices; vessels shine in them."""
    air = -860 + 25 * np.abs(random_field(g, grid, 3.0))
    vessels = np.clip((random_field(g, grid, 5.0) - 1.8) / 0.3, 0, 1)
    tissue = paint(air, np.asarray(vessels, np.float32), -150.0)
    for side in (-1, 1):
        image = paint(image, ellipsoid(grid, (side * 75, -30, 75), (46, 52, 60)), tissue)
    return image


def _spine_and_aorta(g: np.random.Generator, grid: Grid, image: Volume, deep: float) -> Volume:
    back = -0.55 * deep
    bone = 190 + 30 * random_field(g, grid, 3.0)
    image = paint(image, ellipsoid(grid, (0, back, 0), (22, 18, 900)), 480.0)
    image = paint(image, ellipsoid(grid, (0, back, 0), (18, 14, 900)), bone)
    image = paint(image, ellipsoid(grid, (0, back - 22, 0), (8, 7, 900)), 20.0)
    image = paint(image, ellipsoid(grid, (0, back - 32, 0), (5, 12, 900)), 420.0)
    blood = g.uniform(160, 260)
    image = paint(image, ellipsoid(grid, (-6, back + 28, 0), (11, 11, 900)), blood)
    return paint(image, ellipsoid(grid, (20, back + 30, 0), (12, 9, 900)), 0.8 * blood)


def trunk_fdg(generator: np.random.Generator, grid: Grid) -> Volume:
    """A child's head and trunk after FDG, in SUV, already at a scanner's resolution of 6 mm."""
    g = generator
    wide, deep = g.uniform(90, 115), g.uniform(65, 85)
    image = np.zeros(grid.shape, np.float32)
    body = ellipsoid(grid, (0, 0, -55), (wide, deep, 155))
    image = paint(image, body, g.uniform(0.35, 0.6))
    image = paint(image, ellipsoid(grid, (0, 0, -55), (0.9 * wide, 0.88 * deep, 148)), 0.8)
    image = image * (1 + 0.1 * random_field(g, grid, 20.0))
    image = _brain(g, grid, image)
    for side in (-1, 1):
        lung = ellipsoid(grid, (side * 0.45 * wide, 5, 32), (0.33 * wide, 0.6 * deep, 45))
        image = paint(image, lung, g.uniform(0.25, 0.45))
        kidney = ellipsoid(grid, (side * 0.5 * wide, -0.4 * deep, -60), (16, 13, 25))
        image = paint(image, kidney, g.uniform(2, 5))
    image = paint(image, ellipsoid(grid, (0, -0.65 * deep, -45), (13, 12, 130)), g.uniform(1, 1.8))
    image = _uptake(g, grid, image, wide, deep)
    image = _hot_lesions(g, grid, image, wide, deep)
    sigma = [6.0 / 2.3548 / d for d in grid.spacing_mm]
    return np.asarray(ndimage.gaussian_filter(image, sigma), np.float32)


def _brain(g: np.random.Generator, grid: Grid, image: Volume) -> Volume:
    head = ellipsoid(grid, (0, 5, 150), (66, 78, 68))
    image = paint(image, ellipsoid(grid, (0, -5, 98), (40, 40, 40)), 0.7)
    image = paint(image, head, 0.6)
    folds = np.abs(random_field(g, grid, 14.0))
    cortex = np.asarray(np.clip((1.0 - folds) / 0.3, 0, 1), np.float32)
    uptake = g.uniform(2, 3) + g.uniform(3, 5) * cortex
    return paint(image, ellipsoid(grid, (0, 5, 155), (56, 68, 58)), uptake)


def _uptake(g: np.random.Generator, grid: Grid, image: Volume, wide: float, deep: float) -> Volume:
    """Liver, spleen, heart wall and bladder."""
    liver = g.uniform(1.8, 2.6) * (1 + 0.05 * random_field(g, grid, 10.0))
    place = (0.35 * wide, 5.0, -30.0)
    image = paint(image, ellipsoid(grid, place, (0.5 * wide, 0.6 * deep, 38)), liver)
    spleen = (-0.55 * wide, -15.0, -30.0)
    image = paint(image, ellipsoid(grid, spleen, (16, 22, 28)), g.uniform(1.4, 2.0))
    heart = (-18.0, 18.0, 18.0)
    size = g.uniform(0.85, 1.1)
    wall = ellipsoid(grid, heart, (28 * size, 26 * size, 30 * size))
    image = paint(image, wall, g.uniform(2, 9))
    image = paint(image, ellipsoid(grid, heart, (16 * size, 15 * size, 18 * size)), 1.5)
    bladder = (0.0, 20.0, -140.0)
    size = g.uniform(15, 25)
    return paint(image, ellipsoid(grid, bladder, (1.2 * size, size, size)), g.uniform(6, 16))


def _hot_lesions(
    g: np.random.Generator, grid: Grid, image: Volume, wide: float, deep: float
) -> Volume:
    reach = (0.7 * wide, 0.6 * deep)
    image = _spots(g, grid, image, 8, reach, (4, 9), (3.0, 10.0))
    return _spots(g, grid, image, 3, reach, (9, 16), (3.0, 7.0))
