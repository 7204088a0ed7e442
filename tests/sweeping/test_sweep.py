"""A whole sweep under Ray Tune: stopped early, finished, gone on with, confirmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.exceptions import OutOfMemoryError

from amir import checkpoint
from amir.command_line import read_yaml, set_dotted, validate
from amir.config import StatusSettings, SweepSettings, TrainSettings
from amir.errors import InputError
from amir.sweeping import search
from amir.sweeping.record import Sweep, read_sweep
from amir.sweeping.search import check, run_sweep
from amir.sweeping.tables import ranked, summary
from amir.sweeping.tuning import Budget
from amir.tracking import mlflow_client
from amir.training.alone import train_alone
from amir.training.run_folder import RunFolder
from amir.training.status import statuses

STEPS, GRACE = 8, 4
Settings = Callable[..., SweepSettings]


@pytest.fixture(scope="module")
def settings(
    tiny_sweep: Callable[..., SweepSettings], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """settings(**chosen): of one storage."""
    return partial(tiny_sweep, tmp_path_factory.mktemp("storage"), steps=STEPS, grace=GRACE)


@pytest.fixture(scope="module")
def sweep(ray_cluster: None, settings: Settings) -> Sweep:
    return run_sweep(settings())


def folder_of(sweep: Sweep, number: int) -> RunFolder:
    return RunFolder(sweep.folder / sweep.trials[number].name)


def test_trials_are_stopped_or_finished_and_their_folders_say_so(sweep: Sweep) -> None:
    states = [trial.state for trial in sweep.trials]
    assert set(states) == {"stopped", "finished"}
    for trial in sweep.trials:
        folder = folder_of(sweep, trial.number)
        assert folder.status() == trial.state
        assert trial.steps_run == folder.step() == (STEPS if trial.state == "finished" else GRACE)
        assert trial.parameters["model.top_k"] <= trial.parameters["model.experts"]
        assert trial.rungs[-1].minimum == min(trial.rungs[-1].gains.values())
        assert trial.startup_seconds > 0
    told = "".join(statuses(StatusSettings(storage=sweep.folder)))
    assert "000: finished" in told
    assert ": stopped" in told


def test_a_trial_is_the_training_of_the_job(sweep: Sweep, tmp_path: Path) -> None:
    best = ranked(sweep)[0]
    of_trial = checkpoint.latest(folder_of(sweep, best.number).checkpoints)
    tree = read_yaml(sweep.folder / "best.yaml")
    alone = {"storage": tmp_path, "run": "alone", "tracking": {"uri": "none"}}
    folder = train_alone(validate(TrainSettings, tree | alone))
    of_job = checkpoint.latest(folder.checkpoints)
    assert of_trial is not None
    assert of_job is not None
    assert of_trial.digest == of_job.digest


def test_mlflow_holds_each_trial_once_within_the_sweep(sweep: Sweep) -> None:
    client = mlflow_client(f"sqlite:///{sweep.folder.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("amir")
    runs = client.search_runs([experiment.experiment_id])
    parent = sweep.about["mlflow_run_id"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent]
    assert len(children) == len(sweep.trials) == len(runs) - 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in children:
        trial = sweep.trials[int(run.info.run_name)]
        assert run.data.params["model.experts"] == str(trial.parameters["model.experts"])
        assert run.data.metrics["validation/gain"] == trial.objective


def test_a_finished_sweep_says_so(sweep: Sweep, settings: Settings) -> None:
    with pytest.raises(InputError, match="sweep sweep is finished after 4 trials"):
        check(settings())


def test_other_settings_under_its_name_are_refused(sweep: Sweep, settings: Settings) -> None:
    with pytest.raises(InputError, match="started with other settings: search was tpe, is random"):
        check(settings(search="random"))


def test_a_sweep_that_is_older_than_a_setting_goes_on(sweep: Sweep, settings: Settings) -> None:
    file = sweep.folder / "sweep.json"
    written = file.read_text()
    about = json.loads(written)
    del about["settings"]["train"]["data"]["damaged"]
    file.write_text(json.dumps(about))
    try:
        check(settings(trials=5))
    finally:
        file.write_text(written)


def test_the_best_is_repeated_with_seeds_the_search_never_saw(
    sweep: Sweep, settings: Settings
) -> None:
    before = {trial.number: folder_of(sweep, trial.number).rows() for trial in sweep.trials}
    said: list[str] = []
    longer = run_sweep(settings(confirm={"top": 1, "seeds": 1}), say=said.append)
    assert longer.trials[:4] == sweep.trials
    assert {n: folder_of(longer, n).rows() for n in before} == before
    best = ranked(longer)[0]
    [repeated] = longer.confirmations(best.number)
    assert (repeated.seed, repeated.state, repeated.parameters) == (1, "finished", best.parameters)
    assert len(longer.trials) == 5
    assert f"(trial {best.name} with seed 1)" in "".join(said)
    assert read_sweep(sweep.folder).trials == longer.trials
    told = summary(longer)
    assert f"| {best.name} " in told
    assert "4 trials: " in told


def test_more_at_a_time_than_fit_are_refused_before_the_start(
    ray_cluster: None, settings: Settings
) -> None:
    with pytest.raises(InputError, match="5 trials at a time, each of 1 workers with 1 CPUs, do"):
        run_sweep(settings(name="wide", concurrency=5))


def test_a_sweep_goes_on_where_ray_ended_its_trials_for_want_of_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_out: list[list[int]] = []

    class Tuner:
        """Tune's as far as the sweep uses it; gives up twice, as Tune does."""

        def __init__(self, trainable: object, *, tune_config: Any, run_config: Any) -> None:
            self.search, self.listener = tune_config.search_alg, run_config.callbacks[0]

        def fit(self) -> None:
            handed_out.append([])
            while isinstance(trial := self.search.suggest("its id"), dict):
                handed_out[-1].append(trial["number"])
                if len(handed_out) <= 2:
                    raise RuntimeError("Caught unexpected exception") from OutOfMemoryError("full")
                self.listener.outcomes.ended(trial["number"], reason="not trained at all")

    monkeypatch.setattr(tune, "Tuner", Tuner)
    monkeypatch.setattr(search, "budget_of", lambda settings: Budget(1, 1.0, 0.0))
    said: list[str] = []
    asked = settings(name="full", trials=2, tracking={"uri": "none"})
    sweep = run_sweep(asked, say=said.append)
    assert handed_out == [[0], [0], [0, 1]]
    assert [trial.state for trial in sweep.trials] == ["failed", "failed"]
    assert sum("going on" in line for line in said) == 2


@pytest.mark.slow
def test_a_finished_sweep_goes_on_with_more_trials(
    ray_cluster: None, sweep: Sweep, settings: Settings
) -> None:
    longer = run_sweep(settings(trials=5))
    assert longer.trials[:4] == sweep.trials
    assert len(longer.search) == 5


@pytest.mark.slow
def test_a_trial_that_diverges_has_failed_for_good_and_the_others_go_on(
    ray_cluster: None, settings: Settings
) -> None:
    rates = {"optimizer.learning_rate": {"values": [1e-3, 1e30]}}
    grid = settings(name="rates", space=rates, search="grid", trials=None, tracking={"uri": "none"})
    good, diverged = run_sweep(grid).trials
    assert (good.state, diverged.state, diverged.lasting) == ("finished", "failed", True)
    assert "the loss is" in (diverged.reason or "")
    with pytest.raises(InputError, match="finished after 2 trials"):
        check(grid)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_trial_may_take_several_workers(ray_cluster: None, settings: Settings) -> None:
    two = {"train.workers.count": 2, "train.batch": 4, "train.data.sampling": "uniform"}
    tree = settings(name="pairs", trials=2, concurrency=1, tracking={"uri": "none"})
    changed = tree.model_dump(mode="json")
    for name, value in two.items():
        set_dotted(changed, name, value)
    sweep = run_sweep(validate(SweepSettings, changed))
    assert [trial.state for trial in sweep.trials] == ["finished", "stopped"]
    first, second = sweep.trials
    assert [rung.step for rung in first.rungs] == [GRACE, STEPS]
    assert folder_of(sweep, second.number).status() == "stopped"
    groups = ray.util.placement_group_table().values()
    assert {group["state"] for group in groups} <= {"REMOVED"}, "places of a stopped trial"
