"""A space trained in full: each setting once, however often the study is killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amir.command_line import validate
from amir.config import StudySettings, TrainSettings
from amir.errors import InputError
from amir.sweeping import curves
from amir.sweeping.curves import Curve, read_curves, train_curves, write_curves
from amir.training.alone import train_alone
from amir.training.divergence import DivergedError


class KilledError(Exception):
    """What interrupts a study in these tests."""


@pytest.fixture
def study(train_settings: Callable[..., TrainSettings]) -> Callable[..., StudySettings]:
    train = train_settings(steps=4, **{"validation.every": 2, "checkpoints.every": 2})

    def settings(**chosen: Any) -> StudySettings:
        space = {"optimizer.learning_rate": {"lower": 1e-4, "upper": 1e-2, "log": True}}
        tree = {"name": "study", "space": space, "trials": 3, "storage": train.storage}
        return validate(StudySettings, tree | {"train": train.model_dump()} | chosen)

    return settings


def test_a_killed_study_goes_on_and_trains_nothing_twice(
    study: Callable[..., StudySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str | None] = []

    def train(settings: TrainSettings) -> Any:
        if len(trained) == 2 and "killed" not in trained:
            trained.append("killed")
            raise KilledError
        trained.append(settings.run)
        return train_alone(settings)

    monkeypatch.setattr(curves, "train_alone", train)
    with pytest.raises(KilledError):
        train_curves(study())
    told: list[tuple[int, int]] = []
    file = train_curves(study(), report=lambda done, every: told.append((done, every)))
    assert trained == ["000", "001", "killed", "002"]
    assert told == [(2, 3), (3, 3)]
    found = read_curves(file)
    assert [[rung.step for rung in curve.rungs] for curve in found] == [[2, 4]] * 3
    assert set(found[0].rungs[0].gains) == {"MRI", "CT", "PET"}
    assert 0 < found[0].rungs[0].seconds < found[0].rungs[1].seconds

    train_curves(study(trials=4))
    assert trained[-1] == "003"
    with pytest.raises(InputError, match="another space or seed; choose another --name"):
        train_curves(study(seed=1))


def test_a_training_that_diverges_is_kept_as_such(
    study: Callable[..., StudySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(settings: TrainSettings) -> None:
        raise DivergedError("the loss is nan")

    monkeypatch.setattr(curves, "train_alone", diverge)
    found = read_curves(train_curves(study(trials=2)))
    assert [(curve.number, curve.diverged, curve.rungs) for curve in found] == [
        (0, True, ()),
        (1, True, ()),
    ]


def test_curves_of_a_newer_format_are_refused(
    study: Callable[..., StudySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = curves.curves_file(study())
    with pytest.raises(InputError, match=r"no curves in .*; train them"):
        read_curves(file)
    monkeypatch.setattr(curves, "FORMAT", 2)
    write_curves(file, [Curve(0, {}, ())], {})
    monkeypatch.undo()
    with pytest.raises(InputError, match="is of format 2, this code reads 1"):
        read_curves(file)
