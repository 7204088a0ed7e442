"""Where runs are recorded."""

from __future__ import annotations

from amir.config.section import Section


class TrackingSettings(Section):
    uri: str | None = None
    """MLflow server or sqlite:////path; none: no MLflow; null: mlflow.db in the storage folder."""
    experiment: str = "amir"
    """MLflow experiment."""
