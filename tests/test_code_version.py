"""Which code made a result: said, of the checkout, or of the package; never another project's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import amir
from amir.code_version import code_version, versions

GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library's first file in a repository with one commit that leaves it out."""
    folder = tmp_path / "platform" / "amir"
    folder.mkdir(parents=True)
    shutil.copy(str(amir.__file__), folder)
    subprocess.run([*GIT, "init", "-q", str(tmp_path)], check=True)
    commit(tmp_path)
    monkeypatch.delenv("AMIR_CODE_VERSION", raising=False)
    monkeypatch.setattr(amir, "__file__", str(folder / "__init__.py"))
    return folder


def commit(folder: Path, *files: str) -> None:
    if files:
        subprocess.run([*GIT, "-C", str(folder), "add", *files], check=True)
    command = [*GIT, "-C", str(folder), "commit", "-q", "--allow-empty", "-m", "test"]
    subprocess.run(command, check=True)


def test_the_commit_of_the_checkout_is_named_and_whether_it_was_edited(library: Path) -> None:
    commit(library, "__init__.py")
    assert re.fullmatch(r"[0-9a-f]{12}", code_version())
    with (library / "__init__.py").open("a") as file:
        file.write("# edited\n")
    assert re.fullmatch(r"[0-9a-f]{12}\+changes", code_version())


def test_the_commit_of_another_project_around_it_says_nothing(library: Path) -> None:
    assert code_version().startswith("amir-platform ")


def test_what_is_said_comes_first(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMIR_CODE_VERSION", "abc123")
    assert code_version() == "abc123"
    assert versions().keys() >= {"code", "torch", "ray", "numpy"}
