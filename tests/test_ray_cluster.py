"""The tests' Ray carries the library to its workers."""

from __future__ import annotations

import os
import platform

import pytest


def where_is_amir() -> tuple[str, str, str]:
    import amir

    return str(amir.__file__), platform.system(), os.environ["RAY_AUTH_MODE"]


def test_a_worker_imports_the_library_and_the_standard_platform_module(ray_cluster: None) -> None:
    import ray

    found, system, auth_mode = ray.get(ray.remote(where_is_amir).remote())

    assert found == where_is_amir()[0]
    assert system == platform.system()
    assert auth_mode == os.environ["RAY_AUTH_MODE"]


def test_a_worker_with_an_environment_of_its_own_starts_in_any_folder(ray_cluster: None) -> None:
    import ray

    settings = {"env_vars": {"AMIR_TEST_MARK": "1"}}
    task = ray.remote(where_is_amir).options(runtime_env=settings)
    assert ray.get(task.remote(), timeout=60) == where_is_amir()


def test_a_test_that_uses_ray_is_marked_and_cannot_hang_the_run(
    ray_cluster: None, request: pytest.FixtureRequest
) -> None:
    assert request.node.get_closest_marker("ray")
    assert request.node.get_closest_marker("timeout").kwargs == {"method": "thread"}
