"""Which trials fall behind, decided again in the same way after the sweep was killed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from amir.command_line import validate
from amir.config import SweepSettings
from amir.sweeping.record import Rung
from amir.sweeping.tuning import Asha

GAINS = {0: [1.0, 2.0], 1: [3.0, 4.0], 2: [2.0], 3: [5.0, 1.0], 4: [0.5]}


@pytest.fixture
def settings(train_settings: Callable[..., Any]) -> SweepSettings:
    """Rungs at 4, 8 and 16 of 16 steps; one of two goes on."""
    train = train_settings(steps=16, **{"validation.every": 2})
    space = {"model.top_k": {"values": [1, 2]}}
    scheduler = {"grace": 4, "reduction": 2}
    tree = {"name": "sweep", "space": space, "trials": 5, "scheduler": scheduler}
    return validate(SweepSettings, tree | {"train": train.model_dump()})


def tell(asha: Asha, number: int, rung: Rung, *, trial_id: str = "of-tune") -> str:
    trial = SimpleNamespace(trial_id=trial_id, config={"number": number})
    if rung.step == 4:
        asha.on_trial_add(None, trial)
    return asha.on_trial_result(None, trial, {"step": rung.step, "gain": rung.objective})


def rungs() -> list[tuple[int, Rung]]:
    """Every trial's gain at its steps 4 and 8, trial after trial."""
    return [
        (number, Rung(step, gain, gain, {}, 1.0))
        for number, gains in GAINS.items()
        for step, gain in zip((4, 8), gains, strict=False)
    ]


def test_what_was_decided_is_decided_again(settings: SweepSettings) -> None:
    asha = Asha(settings)
    decisions = {number: tell(asha, number, rung) for number, rung in rungs()}
    stopped = {number for number, decision in decisions.items() if decision == "STOP"}
    assert stopped == {3, 4} == Asha(settings).recall(rungs())


def test_a_trial_that_goes_on_is_no_second_trial(settings: SweepSettings) -> None:
    asha = Asha(settings)
    asha.recall(rungs())
    again = SimpleNamespace(trial_id="another id", config={"number": 1})
    asha.on_trial_add(None, again)
    between = {"step": 10, "gain": 0.0}
    assert asha.on_trial_result(None, again, between) == "CONTINUE"
    asha.on_trial_complete(None, again, {"step": 16, "gain": 9.0})
    late = Rung(4, 2.5, 2.5, {}, 1.0)
    assert tell(asha, 9, late) == "CONTINUE"
