"""Which code and libraries made a result."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import amir

LIBRARIES = ("torch", "ray", "mlflow", "numpy", "scipy", "pyarrow", "nibabel", "pydicom")


def code_version() -> str:
    """$AMIR_CODE_VERSION, else the checkout's commit ("+changes" if edited), else the package's."""
    if said := os.environ.get("AMIR_CODE_VERSION"):
        return said
    folder = Path(amir.__file__).parent
    try:
        git = ["git", "-C", str(folder)]
        # Installed below some other project's checkout, its commit would say nothing of this code.
        _output([*git, "ls-files", "--error-unmatch", "__init__.py"])
        commit = _output([*git, "rev-parse", "--short=12", "HEAD"])
        edited = _output([*git, "status", "--porcelain", "--untracked-files=no", "--", "."])
    except (OSError, subprocess.SubprocessError):
        return f"amir-platform {_version('amir-platform')}"
    return commit + ("+changes" if edited else "")


def versions() -> dict[str, str]:
    """The code's version and those of the libraries that results depend on."""
    return {"code": code_version()} | {name: _version(name) for name in LIBRARIES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
