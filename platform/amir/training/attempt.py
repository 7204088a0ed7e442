"""One attempt at a run, from claiming its folder to saying there how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from amir.config import TrainSettings
from amir.dataset.manifest import Manifest
from amir.references import find_model
from amir.tracking import Run
from amir.training.forwarding import Forwarder
from amir.training.record import open_record
from amir.training.run_folder import RunFolder, claim

SECONDS_FOR_MLFLOW = 60  # to take what it has not yet, at the end of a run


class StoppedEarlyError(Exception):
    """Raised where a run is to end before its last step, and well: another will do better."""


class Attempt(NamedTuple):
    folder: RunFolder
    record: Run


@contextmanager
def attempt(
    settings: TrainSettings,
    manifest: Manifest,
    *,
    tags: Mapping[str, str] | None = None,
    patience: float = 0,
) -> Iterator[Attempt]:
    """The run's folder, for this process alone, and its record.

    tags: of the record, when it is new. patience: seconds to wait for a process that holds the run.
    """
    with claim(settings, manifest.dataset_digest, patience=patience) as folder:
        record = open_record(settings, manifest.dataset_digest, folder, tags=tags)
        folder.set_status("running")
        try:
            yield Attempt(folder, record)
            best = find_model(str(folder.path), storage=settings.storage)
            Forwarder(folder, record).send_within(SECONDS_FOR_MLFLOW)
        except BaseException as error:
            _say_why(error, folder, record)
            raise
        record.tags({"amir.digest": best.digest})
        record.finish()
        folder.set_status("finished", steps=settings.steps, digest=best.digest)


def _say_why(error: BaseException, folder: RunFolder, record: Run) -> None:
    # A search that stops a trial of several workers says so itself, before they hear of it.
    stopped = isinstance(error, StoppedEarlyError) or folder.status() == "stopped"
    if stopped:
        folder.set_status("stopped", steps=folder.step())
    else:
        folder.set_status("failed", reason=type(error).__name__)
    status = "FINISHED" if stopped else "FAILED"
    with suppress(Exception):  # what went wrong matters more than that MLflow is away
        record.finish("KILLED" if isinstance(error, KeyboardInterrupt) else status)
