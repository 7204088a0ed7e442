"""A run's record in MLflow: opened with what the run is, or gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from amir.code_version import code_version
from amir.command_line import flatten
from amir.config import TrainSettings
from amir.tracking import Run, open_run, without_password
from amir.training.run_folder import RunFolder


def open_record(
    settings: TrainSettings,
    dataset_digest: str,
    folder: RunFolder,
    *,
    tags: Mapping[str, str] | None = None,
) -> Run:
    """The record of the run folder: made, or found again by its id or its tags."""
    before = folder.mlflow_run_id()
    record = open_run(
        settings.tracking, settings.storage, name=folder.name, run_id=before, tags=tags
    )
    if before is None:
        folder.write_settings(settings, dataset_digest)
        public = {"tracking.uri": without_password(settings.tracking.uri)}
        record.parameters(flatten(settings) | public)
        record.tags(
            {
                "amir.dataset": dataset_digest,
                "amir.code": code_version(),
                "amir.ray_job": _submission(),
            }
        )
        record.file(folder.settings)
        folder.set_mlflow_run_id(record.id)
    return record


def resume_record(settings: TrainSettings, run_id: str | None) -> Run:
    """In a worker: the record of this id, or one that keeps nothing."""
    tracking = settings.tracking
    if run_id is None:
        tracking = tracking.model_copy(update={"uri": "none"})
    return open_run(tracking, settings.storage, name="", run_id=run_id)


def _submission() -> str:
    """The job's id as `ray job list` shows it; "local" for a run that was not submitted."""
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return str(job.get("metadata", {}).get("job_submission_id", "local"))
