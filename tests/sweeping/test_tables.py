"""What a sweep came to, in tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amir.config import SweepSettings
from amir.sweeping.record import Sweep, read_sweep
from amir.sweeping.tables import best_trials, confirmed_trials, costs, ranked, summary


@pytest.fixture
def sweep(
    record_sweep: Callable[..., Sweep],
    sweep_settings: Callable[..., SweepSettings],
    tmp_path: Path,
) -> Sweep:
    return record_sweep(tmp_path, sweep_settings())


def test_the_best_stand_first_with_the_task_that_gains_least(sweep: Sweep) -> None:
    best = ranked(sweep)
    assert [trial.state for trial in best] == ["finished"] * len(best)
    assert best[0].objective == max(trial.objective or 0.0 for trial in best)
    header, line, first, *_ = best_trials(sweep, rows=2).splitlines()
    assert header.split("|")[1:4] == [" trial ", " gain (dB) ", " least task (dB) "]
    assert set(line) == {"|", "-"}
    assert f"| {best[0].name} " in first
    assert f"MRI {best[0].rungs[-1].minimum:+.3f}" in first
    assert len(best_trials(sweep, rows=2).splitlines()) == 4


def test_what_fresh_seeds_found_stands_beside_what_the_search_found(sweep: Sweep) -> None:
    best = ranked(sweep)
    table = confirmed_trials(sweep)
    assert len(table.splitlines()) == 2 + 2
    assert all(f"| {trial.name} " in table for trial in best[:2])
    assert f"{best[0].objective:+.3f}" in table


def test_steps_and_start_up_are_counted_apart(sweep: Sweep) -> None:
    run = sum(trial.steps_run for trial in sweep.search)
    told = costs(sweep)
    assert f"{run} optimizer steps, {run / (30 * 270):.0%} of 8100" in told
    assert "s of start-up" in told


def test_a_sweep_without_a_finished_trial_says_so(
    record_sweep: Callable[..., Sweep],
    sweep_settings: Callable[..., SweepSettings],
    tmp_path: Path,
) -> None:
    begun = record_sweep(tmp_path, sweep_settings(), ended=0)
    assert read_sweep(tmp_path).search[0].state == "running"
    assert "no trial was trained in full" in summary(begun)
