"""Finished restorations, answered again for a stated time to whoever sends the same input.

A result belongs to (input digest, model digest, parameters). It is a folder that appears whole:
the restored file, and `about.json`. Its modification time is when it was last asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from amir.durable import new_folder
from amir.errors import InputError

ABOUT, UNCERTAINTY = "about.json", "uncertainty.nii.gz"


class AboutResult(BaseModel):
    """What an answer says beside its body. filename: of the file in the result's folder too.

    report: as GET /v1/jobs/{id}/report gives it.
    """

    model_config = ConfigDict(frozen=True)

    media_type: str
    filename: str
    report: dict[str, Any]


class ResultStore:
    """Results in a folder that all replicas share. keep_seconds: after they were last asked for."""

    def __init__(self, folder: Path, *, keep_seconds: float) -> None:
        self.folder, self.keep_seconds = folder, keep_seconds

    def find(self, key: str) -> AboutResult | None:
        """What is known of a result, which is kept for longer from now; None if there is none."""
        try:
            about = AboutResult.model_validate_json((self.folder / key / ABOUT).read_bytes())
            os.utime(self.folder / key)
        except FileNotFoundError:
            return None
        return about

    def content(self, key: str, about: AboutResult) -> Path:
        """The restored file of a result that was found."""
        return self.folder / key / about.filename

    def uncertainty(self, key: str) -> Path | None:
        """The volume of the standard deviation over the passes, if any were asked for."""
        path = self.folder / key / UNCERTAINTY
        return path if path.exists() else None

    def keep(
        self, key: str, content: Path, about: AboutResult, *, uncertainty: Path | None = None
    ) -> None:
        """Move a restored file in, unless another replica was quicker with the same result."""
        folder = self.folder / key
        try:
            with new_folder(folder) as beside:
                shutil.move(content, beside / about.filename)
                if uncertainty is not None:
                    shutil.move(uncertainty, beside / UNCERTAINTY)
                (beside / ABOUT).write_text(about.model_dump_json(), encoding="utf-8")
        except (InputError, OSError):
            if not (folder / ABOUT).exists():
                raise

    def delete(self, key: str) -> None:
        shutil.rmtree(self.folder / key, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what was not asked for in time, and what a killed writer left behind."""
        oldest = time.time() - self.keep_seconds
        for folder in _entries(self.folder):
            with suppress(FileNotFoundError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def result_key(input_digest: str, model_digest: str, parameters: Mapping[str, Any]) -> str:
    """One name for an input, a model and parameters that change the answer."""
    named = {"input": input_digest, "model": model_digest, "parameters": dict(parameters)}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []
