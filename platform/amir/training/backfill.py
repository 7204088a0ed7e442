"""What MLflow did not take of runs while it was away, given to it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from amir.config import StatusSettings, TrackingSettings
from amir.tracking import open_run
from amir.training.forwarding import Forwarder
from amir.training.run_folder import RunFolder
from amir.training.status import run_folders
from amir.training.tail import whole_lines

ENDS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def backfilled(settings: StatusSettings) -> Iterator[str]:
    """A line for each run that has ended and was recorded; InputError where MLflow is away."""
    for folder in run_folders(settings):
        end, run_id = ENDS.get(folder.status() or ""), folder.mlflow_run_id()
        if end is not None and run_id is not None:
            yield _backfilled(folder, run_id, end, settings.tracking)


def backfill(folder: RunFolder, tracking: TrackingSettings) -> None:
    """What MLflow did not take of one run that has ended, if anything."""
    end, run_id = ENDS.get(folder.status() or ""), folder.mlflow_run_id()
    if end is not None and run_id is not None and whole_lines(folder.metrics, folder.sent()):
        _backfilled(folder, run_id, end, tracking)


def _backfilled(folder: RunFolder, run_id: str, end: str, tracking: TrackingSettings) -> str:
    record = open_run(tracking, folder.path.parent, name="", run_id=run_id)
    forwarder = Forwarder(folder, record)
    lines, sent = forwarder.unsent(), forwarder.send()
    if digest := folder.state().get("digest"):
        record.tags({"amir.digest": digest})
    record.finish(end)
    told = f"{lines} lines sent to MLflow" if sent else "MLflow went away, try again"
    return f"{folder.name}: {told}"
