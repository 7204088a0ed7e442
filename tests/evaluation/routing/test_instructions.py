"""Instructions in the plane."""

from __future__ import annotations

import numpy as np
import pytest

from amir.evaluation.routing.instructions import project, separation


def groups(count: int, distance: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((2 * count, 16))
    noise[count:, 0] += distance
    return noise.astype(np.float32)


def test_principal_components_keep_the_distances_of_what_lies_in_a_plane() -> None:
    plane = np.random.default_rng(1).standard_normal((9, 2)) @ np.eye(2, 12)
    points = project(plane.astype(np.float32), method="pca")
    for a, b in ((0, 1), (3, 8)):
        expected = np.linalg.norm(plane[a] - plane[b])
        assert np.linalg.norm(points[a] - points[b]) == pytest.approx(expected, rel=1e-5)


def test_neighbours_stay_neighbours_and_the_picture_is_the_same_each_time() -> None:
    instructions = groups(12, 40)
    points = project(instructions, method="tsne")
    assert separation(points.astype(np.float32), ["MRI"] * 12 + ["CT"] * 12) > 0.5
    np.testing.assert_array_equal(points, project(instructions, method="tsne"))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_slices_are_shown_by_principal_components(count: int) -> None:
    instructions = groups(7, 1)[:count]
    points = project(instructions, method="tsne")
    np.testing.assert_array_equal(points, project(instructions, method="pca"))
    assert points.shape == (count, 2)


def test_separation_says_how_far_tasks_part() -> None:
    tasks = ["MRI"] * 12 + ["PET"] * 12
    assert separation(groups(12, 100), tasks) > 0.9
    assert abs(separation(groups(12, 0), tasks)) < 0.1
    assert separation(groups(12, 0), ["MRI"] * 24) is None
