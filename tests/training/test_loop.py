"""The loop: resumed it is the undisturbed run, and it stops where it must."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from amir.dataset.reader import Batch
from amir.training.loop import DivergedError


class KilledError(Exception):
    """What interrupts a run in these tests."""


def until(step: int, batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches up to and with this step's, then the end of the world."""
    yield from itertools.takewhile(lambda batch: int(batch["step"][0]) < step, batches)
    raise KilledError


def test_a_killed_and_resumed_run_is_the_undisturbed_run_bit_for_bit(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    chosen = {"checkpoints.every": 3, "validation.every": 5, "steps": 10}
    whole = local_run(train_settings(run="whole", **chosen)).train()
    killed = local_run(train_settings(run="killed", **chosen))
    with pytest.raises(KilledError):
        killed.train(until(8, killed.batches()))
    resumed = local_run(train_settings(run="killed", **chosen))
    assert resumed.state.step == 6
    resumed.train()

    assert resumed.losses() == whole.losses()
    assert list(whole.losses()) == list(range(1, 11))
    for name, tensor in whole.state.model.state_dict().items():
        assert torch.equal(resumed.state.model.state_dict()[name], tensor), name
    moments = resumed.state.optimizer.state_dict()["state"]
    for number, entry in whole.state.optimizer.state_dict()["state"].items():
        for name, tensor in entry.items():
            assert torch.equal(moments[number][name], tensor), (number, name)
    assert resumed.state.best_gain == whole.state.best_gain


def test_a_feed_at_the_wrong_position_is_refused(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    run = local_run(train_settings())
    late = itertools.islice(run.batches(), 1, None)
    with pytest.raises(RuntimeError, match="delivered steps 1 to 1 where step 0 was due"):
        run.train(late)


def test_a_feed_that_ends_early_does_not_pass_for_a_finished_run(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    run = local_run(train_settings())
    with pytest.raises(RuntimeError, match="ended after step 5 of 8"):
        run.train(itertools.islice(run.batches(), 5))


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    def spoilt(batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if batch["step"][0] == 5:
                batch["target"][0, 0, 0] = np.nan
            yield batch

    run = local_run(train_settings(**{"checkpoints.every": 3}))
    with pytest.raises(DivergedError, match=r"nan at step 6.*learning_rate"):
        run.train(spoilt(run.batches()))
    assert sorted(f.name for f in run.folder.checkpoints.iterdir()) == ["3"]


def test_validation_and_checkpoints_come_when_due_and_at_the_end(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    run = local_run(
        train_settings(**{"checkpoints.every": 3, "checkpoints.keep": 9, "validation.every": 5})
    ).train()
    assert {int(f.name) for f in run.folder.checkpoints.glob("[0-9]*")} == {3, 5, 6, 8}
    assert [r["step"] for r in run.folder.rows() if "validation/gain" in r] == [5, 8]


def test_the_loss_falls(train_settings: Callable[..., Any], local_run: Callable[..., Any]) -> None:
    settings = train_settings(
        steps=60, **{"optimizer.learning_rate": 3e-3, "model.gate_noise": False}
    )
    losses = list(local_run(settings).train().losses().values())
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
