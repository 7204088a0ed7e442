"""What `ray job submit --working-dir . --runtime-env runtime_env.yaml` carries to the cluster."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return yaml.safe_load((ROOT / "runtime_env.yaml").read_text())


CODE = {"platform/amir/a.py", "jobs/a.py", "jobs/configs/a.yaml", "serve/a.py", "tune/a.py"}
LEFT_BEHIND = {
    ".git/a",
    ".venv/a",
    "data/train/a.parquet",
    "runs/a/settings.yaml",
    "tests/a.py",
    "models/weights.safetensors",
    "mlflow.db",
    "platform/amir/__pycache__/a.pyc",
}


@pytest.fixture(scope="module")
def carried(settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Files of the package that Ray makes of a repository like this one, with data and models."""
    # Private, and the only way to see the package without a cluster: Ray is pinned.
    from ray._private.runtime_env.packaging import create_package

    folder = tmp_path_factory.mktemp("repository")
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    for name in CODE | LEFT_BEHIND:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    package = tmp_path_factory.mktemp("package") / "package.zip"
    create_package(str(folder), package, include_gitignore=True, excludes=settings["excludes"])
    with zipfile.ZipFile(package) as file:
        return {name for name in file.namelist() if not name.endswith("/")}


def test_ray_accepts_the_settings(settings: dict[str, object]) -> None:
    from ray.runtime_env import RuntimeEnv

    assert RuntimeEnv(**settings).env_vars()["PYTHONPATH"] == "platform"


def test_the_package_holds_the_code_and_nothing_else(carried: set[str]) -> None:
    assert carried - {".gitignore"} == CODE
