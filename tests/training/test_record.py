"""What a run's record in MLflow says, and what it must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amir.config import TrackingSettings, TrainSettings
from amir.training import record
from amir.training.run_folder import RunFolder


class Listening:
    """Takes what is recorded, and keeps it."""

    id = "0" * 32

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def parameters(self, values: dict[str, Any]) -> None:
        self.told |= values

    def tags(self, values: dict[str, str]) -> None:
        self.told |= values

    def file(self, path: object, *, folder: str | None = None) -> None: ...


def test_a_password_in_the_servers_address_is_not_recorded(
    train_settings: Callable[..., TrainSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = train_settings(**{"tracking.uri": "http://me:secret@mlflow.example:5000"})
    listening = Listening()

    def open_run(tracking: TrackingSettings, *_: object, **__: object) -> Listening:
        assert tracking.uri == "http://me:secret@mlflow.example:5000"
        return listening

    monkeypatch.setattr(record, "open_run", open_run)
    folder = RunFolder(settings.storage / "run")
    record.open_record(settings, "ab" * 32, folder)
    assert listening.told["tracking.uri"] == "http://mlflow.example:5000"
    assert "secret" not in str(listening.told) + folder.settings.read_text()
