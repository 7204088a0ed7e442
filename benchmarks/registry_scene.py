"""A registry with a champion and phantoms to judge others on, left alone by the process that looks
on: what is done to it is done in forks.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from amir.checkpoint import Checkpoint
from amir.config import PromoteSettings, TrackingSettings
from amir.model_registry.versions import ModelRegistry, Version
from amir.references import find_model
from amir.tracking import open_run
from benchmarks.known_models import LENIENT, enthrone, phantom_dataset, save_off_by
from benchmarks.mlflow_server import free_port, mlflow_server
from benchmarks.postgresql import postgresql

DATABASES = ("sqlite", "server", "postgresql")


class Scene(NamedTuple):
    """uri: of MLflow. champion: the number of the version that is it at first."""

    folder: Path
    dataset: Path
    uri: str
    champion: int

    def registry(self) -> ModelRegistry:
        return ModelRegistry.of(TrackingSettings(uri=self.uri), self.folder)

    def off_by(self, error: float) -> Checkpoint:
        return save_off_by(error, self.folder / f"off-by-{error:.3f}", self.dataset)

    def asked(self, model: Checkpoint) -> PromoteSettings:
        """To make a model champion, each from a storage of its own."""
        return PromoteSettings.model_validate(
            {
                "model": str(model.folder),
                "data": self.dataset,
                "storage": self.folder / f"storage-{model.folder.name}",
                "gate": LENIENT,
                "tracking": {"uri": self.uri},
            }
        )

    def is_whole(self, version: Version) -> bool:
        """Its files are the model it is registered as; of a promoted one, verdict and card too."""
        reference = f"models:/amir/{version.number}"
        model = find_model(reference, storage=Path(), tracking_uri=self.uri)
        is_judged = (
            version.tags.get("amir.verdict") == "accepted"
            and version.replaces == self.champion
            and (model.folder / "card.md").is_file()
        )
        return model.digest == version.digest and (version.number == self.champion or is_judged)


@contextmanager
def scenes(database: str) -> Iterator[Callable[[str], Scene]]:
    """Makes a scene of a name, in an experiment of its own, on one MLflow over SQLite, on a server
    over it, or on one over PostgreSQL.
    """
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="amir-registry-"))
        folder = Path(place)
        dataset = phantom_dataset(folder)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        if database == "postgresql":
            uri = stack.enter_context(postgresql(free_port()))
        if database != "sqlite":
            uri = stack.enter_context(mlflow_server(uri, folder))

        def make(name: str) -> Scene:
            scene = Scene(folder / name, dataset, uri, 0)
            scene.folder.mkdir()
            champion = answered(lambda: _enthrone_one(scene), scene.folder)
            return scene._replace(champion=champion)

        yield make


def _enthrone_one(scene: Scene) -> int:
    run = open_run(TrackingSettings(uri=scene.uri), scene.folder, name=scene.folder.name)
    return enthrone(scene.registry(), scene.off_by(0.8), run.id)


def forked(work: Callable[[], int | None]) -> int:
    """The process that does some work and ends with the exit code that this returns.

    A fork: Python's imports would take longer than what is to be killed.
    """
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        code = 1
        try:
            code = work() or 0
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
        os._exit(code)
    return pid


def ended(pid: int) -> int:
    """The exit code of a process, waited for; below zero the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def answered(work: Callable[[], Any], folder: Path) -> Any:
    """What work returns, done in another process; RuntimeError if that fails."""
    file = folder / "answer.json"
    if code := ended(forked(lambda: file.write_text(json.dumps(work())) * 0)):
        raise RuntimeError(f"a process that looks at the registry ended with {code}")
    return json.loads(file.read_text())
