"""A sweep from its settings to its best trials: checked, searched, confirmed; or gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from amir import cluster, durable
from amir.code_version import code_version
from amir.command_line import flatten, validate
from amir.config import SweepSettings, TrainSettings
from amir.dataset.loading import ACTOR_CPUS
from amir.dataset.manifest import Manifest, check_shards
from amir.errors import InputError
from amir.sweeping.course import Course, silent
from amir.sweeping.page import write_summary
from amir.sweeping.record import Record, Sweep, Trial, read_sweep, rungs_as_told
from amir.sweeping.sources import Source, source_of
from amir.sweeping.spaces import check_space, grid, trial_settings
from amir.sweeping.tables import ranked
from amir.sweeping.trial import TrialTask
from amir.sweeping.tuning import (
    SMALL,
    Budget,
    NoMemoryLeftError,
    Outcomes,
    fit,
    scheduler_of,
    train_all_in_full,
)
from amir.tracking import Run, open_run, tracking_uri, without_password
from amir.training import ray_trainer
from amir.training.backfill import backfill
from amir.training.run_folder import RunFolder, differences, held

Told = Callable[[Trial], None]
Say = Callable[[str], None]


def check(settings: SweepSettings) -> Manifest:
    """What one need not wait for Ray to know; InputError if it will not do, or if it is done."""
    check_space(settings)
    manifest = ray_trainer.check(_common(settings))
    folder = sweep_folder(settings)
    if (folder / "sweep.json").is_file():
        _check_may_go_on(settings, manifest, read_sweep(folder))
    return manifest


def sweep_folder(settings: SweepSettings) -> Path:
    return settings.storage.absolute() / settings.name


def run_sweep(settings: SweepSettings, *, say: Say = silent) -> Sweep:
    """Search and confirm on the Ray this process is connected to; the same sweep goes on where it
    was, and none of its trials is run twice.

    RuntimeError if trials failed for a reason that may not come again.
    """
    manifest = check(settings)
    check_shards(settings.train.data.path, manifest)
    budget = budget_of(settings)
    folder = sweep_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    refusal = f"sweep {settings.name} is run by another process; wait for it, or choose --name"
    with held(folder / "lock", refusal=refusal):
        parent = _open(settings, manifest, folder)
        task = TrialTask(settings.name, _common(settings), parent.id)
        told = Course(settings, _asked_for(settings), read_sweep(folder).trials, parent, say)
        try:
            for part in (_search, _confirm):
                _to_its_end(partial(part, settings, task, budget, told), settings, say)
            sweep = read_sweep(folder)
            _check_none_is_left(sweep)
        except BaseException as error:
            parent.finish_nested("KILLED")
            parent.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        for trial in sweep.trials:  # the last to be stopped have no time to tell MLflow themselves
            backfill(RunFolder(folder / trial.name), _common(settings).tracking)
        parent.finish_nested()
        parent.finish()
        _write_best(settings, sweep)
        parent.file(write_summary(folder))
    return sweep


def budget_of(settings: SweepSettings) -> Budget:
    """As many trials at a time as are set, else as the cluster holds; InputError if it has too
    little, for which Ray would wait for ever.
    """
    workers = settings.train.workers
    if workers.count == 1:
        share = settings.gpus if workers.gpu else 0.0
        room = cluster.places(workers.cpus, share)
        cpus = workers.cpus
    else:
        share, cpus = 0.0, SMALL
        beside = SMALL + workers.count * ACTOR_CPUS
        room = cluster.groups(
            workers.count, cpus=workers.cpus, gpus=1 if workers.gpu else 0, beside=beside
        )
    wanted = settings.concurrency or max(1, room)
    if wanted > room:
        raise InputError(
            "too_few_resources",
            f"{wanted} trials at a time, each of {workers.count} workers with {workers.cpus:g} CPUs"
            + (f" and {settings.gpus:g} GPUs" if workers.gpu else "")
            + f", do not fit: the cluster holds {room}; lower --concurrency, "
            "--train.workers.count or --train.workers.cpus, or add nodes",
        )
    return Budget(wanted, cpus, share)


def _common(settings: SweepSettings) -> TrainSettings:
    """What trials have in common, as they are run: in the sweep's folder, tracked as the sweep."""
    uri = tracking_uri(settings.tracking, settings.storage) or "none"
    data = settings.train.data
    return settings.train.model_copy(
        update={
            "storage": sweep_folder(settings),
            "run": None,
            "data": data.model_copy(update={"path": data.path.absolute()}),
            "tracking": settings.tracking.model_copy(update={"uri": uri}),
        }
    )


def _open(settings: SweepSettings, manifest: Manifest, folder: Path) -> Run:
    """The sweep's run in MLflow, made or found again; sweep.json says what is asked now."""
    record, file = Record(folder), folder / "sweep.json"
    known = dict(read_sweep(folder).about) if file.is_file() else {"id": uuid4().hex}
    known |= {"settings": _public(settings), "dataset_digest": manifest.dataset_digest}
    known.setdefault("code_version", code_version())
    record.describe(known)
    before = known.get("mlflow_run_id")
    parent = open_run(
        _common(settings).tracking,
        settings.storage,
        name=settings.name,
        run_id=before,
        tags={"amir.sweep": known["id"]},
    )
    if before is None:
        parent.parameters({"tracking.uri": without_password(_common(settings).tracking.uri)})
        parent.parameters(_asked(settings))
        parent.tags({"amir.dataset": manifest.dataset_digest, "amir.code": code_version()})
        record.describe(known | {"mlflow_run_id": parent.id or None})
    return parent


def _to_its_end(part: Callable[[], None], settings: SweepSettings, say: Say) -> None:
    """A part of the sweep, gone on with where a node had no memory left."""
    for left in range(settings.max_failures, -1, -1):
        try:
            part()
            return
        except NoMemoryLeftError:
            if not left:
                raise RuntimeError(
                    f"a node ran out of memory {settings.max_failures + 1} times; lower "
                    "--concurrency or --train.batch. The same command goes on"
                ) from None
            say(f"a node ran out of memory and Ray ended trials; going on, {left} times more")


def _search(settings: SweepSettings, task: TrialTask, budget: Budget, told: Told) -> None:
    folder = sweep_folder(settings)
    sweep = read_sweep(folder)
    source = source_of(settings, sweep.search)
    outcomes = Outcomes(Record(folder), sweep.trials, partial(_learn, source, told))
    searched = {trial.number for trial in sweep.search}
    rungs = [told for told in rungs_as_told(folder) if told[0] in searched]
    scheduler, to_stop = scheduler_of(settings, rungs)
    for number in to_stop & {trial.number for trial in _left(sweep.search)}:
        outcomes.ended(number)  # the sweep was killed between the decision and its execution
    trials = _trials_of_search(settings, sweep, source, outcomes)
    _run(trials, settings, task, budget, outcomes, scheduler)


def _confirm(settings: SweepSettings, task: TrialTask, budget: Budget, told: Told) -> None:
    folder = sweep_folder(settings)
    sweep = read_sweep(folder)
    outcomes = Outcomes(Record(folder), sweep.trials, told)
    trials = _trials_of_confirmation(settings, sweep, outcomes)
    _run(trials, settings, task, budget, outcomes, train_all_in_full())


def _run(
    trials: Iterator[Trial],
    settings: SweepSettings,
    task: TrialTask,
    budget: Budget,
    outcomes: Outcomes,
    scheduler: Any,
) -> None:
    if (first := next(trials, None)) is not None:
        every = chain([first], trials)
        fit(
            task,
            budget,
            upcoming=lambda: next(every, None),
            outcomes=outcomes,
            scheduler=scheduler,
            max_failures=settings.max_failures,
        )


def _trials_of_search(
    settings: SweepSettings, sweep: Sweep, source: Source, outcomes: Outcomes
) -> Iterator[Trial]:
    """Those under way, then new ones, each written down before it is handed out."""
    yield from _left(sweep.search)
    for _ in range(len(sweep.search), _asked_for(settings)):
        number = len(outcomes.trials)
        parameters = source.draw(number)
        if parameters is None:
            return
        trial = Trial(number, parameters, settings.train.seed)
        outcomes.drawn(trial)
        yield trial


def _trials_of_confirmation(
    settings: SweepSettings, sweep: Sweep, outcomes: Outcomes
) -> Iterator[Trial]:
    yield from _left([trial for trial in sweep.trials if trial.confirms is not None])
    for best, seed in _unconfirmed(settings, sweep):
        trial = Trial(len(outcomes.trials), best.parameters, seed, confirms=best.number)
        outcomes.drawn(trial)
        yield trial


def _unconfirmed(settings: SweepSettings, sweep: Sweep) -> list[tuple[Trial, int]]:
    """The best trials, and seeds with which they were not yet trained."""
    seeds = [settings.train.seed + 1 + k for k in range(settings.confirm.seeds)]
    return [
        (trial, seed)
        for trial in ranked(sweep)[: settings.confirm.top]
        for seed in seeds
        if seed not in [repeated.seed for repeated in sweep.confirmations(trial.number)]
    ]


def _left(trials: Sequence[Trial]) -> list[Trial]:
    """Under way, or ended by what may not come again."""
    return [
        trial
        for trial in trials
        if trial.state == "running" or (trial.state == "failed" and not trial.lasting)
    ]


def _learn(source: Source, told: Told, trial: Trial) -> None:
    told(trial)
    if trial.state in ("finished", "stopped"):
        source.tell(trial.number, trial.objective)
    elif trial.state == "failed" and trial.lasting:
        source.tell(trial.number, None)


def _asked_for(settings: SweepSettings) -> int:
    """Trials of the search."""
    if settings.search != "grid":
        return settings.trials or 0
    points = len(grid(settings.space, flatten(settings.train)))
    return min(points, settings.trials or points)


def _check_may_go_on(settings: SweepSettings, manifest: Manifest, sweep: Sweep) -> None:
    # Settings that are newer than the sweep have their defaults.
    begun = _public(validate(SweepSettings, sweep.about["settings"]))
    theirs = {"dataset_digest": sweep.about["dataset_digest"], **begun}
    ours = {"dataset_digest": manifest.dataset_digest, **_public(settings)}
    if found := differences(_identity(theirs), _identity(ours)):
        raise InputError(
            "run_exists",
            f"sweep {settings.name} was started with other settings: {'; '.join(found)}. Repeat "
            "those, or choose another --name",
        )
    done = len(sweep.search) >= _asked_for(settings)
    if done and not _left(sweep.trials) and not _unconfirmed(settings, sweep):
        raise InputError(
            "run_exists",
            f"sweep {settings.name} is finished after {len(sweep.search)} trials. Go on with more "
            "--trials or --confirm.top, or start anew under another --name",
        )


def _identity(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which trials there are and what becomes of each."""
    train = {
        name: value
        for name, value in tree["train"].items()
        if name not in ("storage", "run", "workers", "tracking")
    }
    train["data"] = {name: v for name, v in train["data"].items() if name != "path"}
    kept = ("dataset_digest", "space", "search", "seed", "scheduler")
    return {"train": train, **{name: tree[name] for name in kept}}


def _public(settings: SweepSettings) -> dict[str, Any]:
    """As sweep.json keeps them: an address of MLflow may hold a password."""
    return settings.model_dump(mode="json", exclude={"tracking": True, "train": {"tracking"}})


def _asked(settings: SweepSettings) -> dict[str, Any]:
    """The sweep's own settings, and what its trials have in common, for MLflow."""
    mute = ("tracking.", "train.tracking.", "train.storage", "train.run")
    return {k: v for k, v in flatten(settings).items() if not k.startswith(mute)}


def _write_best(settings: SweepSettings, sweep: Sweep) -> None:
    """The settings of the best trial, for jobs/train_all_in_one.py."""
    if best := ranked(sweep):
        chosen = trial_settings(settings.train, best[0].parameters)
        tree = chosen.model_dump(mode="json", exclude={"run", "storage", "tracking"})
        text = yaml.safe_dump(tree, sort_keys=False)
        durable.write_text(sweep.folder / "best.yaml", text)


def _check_none_is_left(sweep: Sweep) -> None:
    if left := _left(sweep.trials):
        reasons = ", ".join(dict.fromkeys(trial.reason or "unknown" for trial in left))
        raise RuntimeError(
            f"{len(left)} trials did not come to an end ({reasons}); the same command goes on"
        )
