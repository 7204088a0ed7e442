"""Copies of the models that a service serves, which its replicas share and a new one starts from.

FOLDER/DIGEST/        a checkpoint without its training state, whole or not there
FOLDER/ALIAS.json     digest, version and reference that were served last
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from amir import checkpoint, durable
from amir.checkpoint import Checkpoint
from amir.errors import InputError

KEPT = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """What an alias meant. version: in the registry, "" outside of one."""

    digest: str
    version: str
    reference: str


class ModelCache:
    """Any number of replicas read and write it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, found: Checkpoint) -> None:
        """A copy of a checkpoint, unless there is one; beyond 8, those least recently added go."""
        copy = self.folder / found.digest
        if copy.is_dir():
            (copy / "digests.json").touch()
            return
        self._make_room()
        try:
            with durable.new_folder(copy) as beside:
                checkpoint.copy_model(found, beside)
        except OSError:
            if not copy.is_dir():  # another replica has not been faster
                raise

    def note(self, alias: str, served: Served) -> None:
        """What the alias means now; its model has been added."""
        durable.write_text(self.folder / f"{alias}.json", json.dumps(asdict(served), indent=1))

    def noted(self, alias: str) -> Served | None:
        """What the alias meant last; None if nobody noted it, or not legibly."""
        try:
            return Served(**json.loads((self.folder / f"{alias}.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def find(self, digest: str) -> Checkpoint | None:
        """The copy of a model, verified; None if there is no sound one."""
        if not (self.folder / digest).is_dir():
            return None
        try:
            found = checkpoint.load(self.folder / digest)
        except InputError as error:
            log.warning("passing over a damaged copy of a model: %s", error)
            return None
        return found if found.digest == digest else None

    def _make_room(self) -> None:
        copies = sorted(self.folder.glob("*/digests.json"), key=lambda f: f.stat().st_mtime)
        noted = {note.digest for f in self.folder.glob("*.json") if (note := self.noted(f.stem))}
        for copy in copies[: max(0, len(copies) - KEPT + 1)]:
            if copy.parent.name not in noted:
                shutil.rmtree(copy.parent, ignore_errors=True)
