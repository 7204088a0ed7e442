"""The loop: resumed it is the undisturbed run, and it stops where it must."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from amir.checkpoint import latest
from amir.dataset.reader import Batch
from amir.training.divergence import DivergedError


class KilledError(Exception):
    """What interrupts a run in these tests."""


def spoilt(batches: Iterable[Batch], steps: Iterable[int] = (5,)) -> Iterator[Batch]:
    """The batches, with one pixel of these steps' targets that is no number."""
    for batch in batches:
        if int(batch["step"][0]) in set(steps):
            batch["target"][0, 0, 0] = np.nan
        yield batch


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
    moments = resumed.state.optimizers[0].state_dict()["state"]
    for number, entry in whole.state.optimizers[0].state_dict()["state"].items():
        for name, tensor in entry.items():
            assert torch.equal(moments[number][name], tensor), (number, name)
    assert resumed.state.best_gain == whole.state.best_gain


EVERYTHING: dict[str, Any] = {
    "optimizer.name": "muon",
    "optimizer.weight_decay": 0.01,
    "optimizer.clip_norm": 1.0,
    "optimizer.average_decay": 0.9,
    "loss.balancing": "uncertainty",
    "data.late_crop": 24,
    "data.late_crop_from": 4,
    "accumulate": 2,
    "divergence.action": "skip",
}


def test_with_every_setting_beyond_the_paper_resuming_is_as_exact(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    chosen = EVERYTHING | {"checkpoints.every": 3, "validation.every": 5, "steps": 10}
    whole = local_run(train_settings(run="whole", **chosen)).train()
    killed = local_run(train_settings(run="killed", **chosen))
    with pytest.raises(KilledError):
        killed.train(until(8, killed.batches()))
    resumed = local_run(train_settings(run="killed", **chosen))
    assert resumed.state.step == 6
    resumed.train()
    assert resumed.losses() == whole.losses()
    for part in ("model", "kept", "balancing"):
        for name, tensor in getattr(whole.state, part).state_dict().items():
            assert torch.equal(getattr(resumed.state, part).state_dict()[name], tensor), name


def test_late_crops_come_from_their_step_on(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    run = local_run(train_settings(**{"data.late_crop": 24, "data.late_crop_from": 5, "steps": 7}))
    sides = [(int(batch["step"][0]), batch["target"].shape[-1]) for batch in run.batches()]
    assert sides == [(step, 16 if step < 5 else 24) for step in range(7)]


def test_the_average_is_what_is_kept_and_the_last_weights_go_on(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    run = local_run(train_settings(**{"optimizer.average_decay": 0.5})).train()
    saved = latest(run.folder.checkpoints)
    assert saved is not None
    kept, live = run.state.kept.state_dict(), run.state.model.state_dict()
    assert all(torch.equal(saved.weights()[name], kept[name]) for name in kept)
    assert not torch.equal(kept["output.weight"], live["output.weight"])


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
    run = local_run(train_settings(**{"checkpoints.every": 3}))
    with pytest.raises(DivergedError, match=r"nan at step 6.*learning_rate") as refused:
        run.train(spoilt(run.batches()))
    assert sorted(f.name for f in run.folder.checkpoints.iterdir()) == ["3"]
    names = run.reader(16).names(5)
    assert len(names) == run.settings.batch
    assert all(name in str(refused.value) for name in names)


def test_where_it_is_wanted_such_a_step_is_left_out_and_its_slices_are_told(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    run = local_run(train_settings(**{"divergence.action": "skip"}))
    run.train(spoilt(run.batches(), {2, 5}))
    left_out = {row["step"]: row["slices"] for row in run.folder.rows() if "slices" in row}
    assert left_out == {3: run.reader(16).names(2), 6: run.reader(16).names(5)}
    assert sorted(run.losses()) == [1, 2, 4, 5, 7, 8]


def test_too_many_steps_left_out_in_a_row_end_the_run(
    train_settings: Callable[..., Any], local_run: Callable[..., Any]
) -> None:
    chosen = {"divergence.action": "skip", "divergence.most_skips": 3}
    run = local_run(train_settings(**chosen))
    with pytest.raises(DivergedError, match=r"3 steps in a row .* step 5 with"):
        run.train(spoilt(run.batches(), {2, 3, 4, 5}))


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
