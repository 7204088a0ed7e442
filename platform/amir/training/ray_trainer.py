"""A training run on Ray Train: checks first, then workers, then the record of what came out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from amir import checkpoint, cluster
from amir.checkpoint import Checkpoint
from amir.code_version import code_version
from amir.command_line import flatten
from amir.config import TrainSettings
from amir.dataset.loading import ACTOR_CPUS, ray_batches
from amir.dataset.manifest import Manifest, check_shards, read_manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import build_index
from amir.dataset.slices import spread_slices
from amir.errors import InputError
from amir.inference.restorer import Restorer
from amir.models.registry import build_model
from amir.references import find_model
from amir.tracking import Run, open_run, tracking_uri
from amir.training.loop import Scores, train
from amir.training.observer import RunObserver
from amir.training.optimizer import build_optimizer
from amir.training.pictures import draw_validation_picture
from amir.training.run_folder import RunFolder, claim
from amir.training.state import TrainingState, mark_best, prune
from amir.training.validation import mean_gain, validate


@dataclass(frozen=True)
class Result:
    """What a finished run left: its folder, and its best checkpoint."""

    folder: RunFolder
    best: Checkpoint


def run(settings: TrainSettings, *, callbacks: Sequence[Any] = ()) -> Result:
    """Train as set, on the Ray this process is connected to; an unfinished run of the same name
    goes on.

    callbacks: Ray Train's, such as Tune's TuneReportCallback. InputError before anything starts if
    the dataset, the settings or the
    cluster will not do.
    """
    settings = _with_absolute_paths(settings)
    manifest = read_manifest(settings.data.path)
    _check_before(settings, manifest)
    folder = claim(settings, manifest.dataset_digest)
    record = _open_record(settings, manifest, folder)
    folder.set_status("running")
    try:
        _fit(settings, manifest, folder, record, callbacks)
        best = find_model(str(folder.path), storage=settings.storage)
        record.file(draw_validation_picture(settings, manifest, folder.path, best))
    except BaseException as error:
        folder.set_status("failed", reason=type(error).__name__)
        record.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    record.tags({"amir.digest": best.digest})
    record.finish()
    folder.set_status("finished", steps=settings.steps, digest=best.digest)
    return Result(folder, best)


def _with_absolute_paths(settings: TrainSettings) -> TrainSettings:
    """A worker's current folder is another one, and on another machine."""
    uri = tracking_uri(settings.tracking, settings.storage) or "none"
    return settings.model_copy(
        update={
            "storage": settings.storage.absolute(),
            "data": settings.data.model_copy(update={"path": settings.data.path.absolute()}),
            "tracking": settings.tracking.model_copy(update={"uri": uri}),
        }
    )


def _check_before(settings: TrainSettings, manifest: Manifest) -> None:
    for split in ("train", "validation"):
        build_index(manifest, split, settings.data.tasks)  # type: ignore[arg-type]
    check_shards(settings.data.path, manifest)
    build_model(settings.model.name, **settings.model.network())
    if settings.init_from is not None:
        _initial_weights(settings)
    workers = settings.workers
    cluster.require(
        cpus=workers.count * (workers.cpus + ACTOR_CPUS),
        gpus=workers.count if workers.gpu else 0,
        purpose=f"training with {workers.count} workers and their data feeds",
        remedy="lower --workers.count or --workers.cpus, or add nodes (Ray would wait for ever)",
    )


def _initial_weights(settings: TrainSettings) -> dict[str, torch.Tensor]:
    found = find_model(
        str(settings.init_from), storage=settings.storage, tracking_uri=settings.tracking.uri
    )
    theirs = found.settings["network"]
    probe = build_model(settings.model.name, **settings.model.network())
    weights = found.weights()
    try:
        probe.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            "invalid_setting",
            f"--init-from {settings.init_from} holds network {theirs}, which does not fit the model "
            f"settings: {str(error).splitlines()[0]}",
        ) from None
    return weights


def _open_record(settings: TrainSettings, manifest: Manifest, folder: RunFolder) -> Run:
    before = folder.mlflow_run_id()
    record = open_run(settings.tracking, settings.storage, name=folder.name, run_id=before)
    if before is None:
        folder.set_mlflow_run_id(record.id)
        record.parameters(flatten(settings))
        record.tags(
            {
                "amir.dataset": manifest.dataset_digest,
                "amir.code": code_version(),
                "amir.ray_job": os.environ.get("RAY_JOB_ID", "local"),
            }
        )
        record.file(folder.path / "settings.yaml")
    return record


def _fit(
    settings: TrainSettings,
    manifest: Manifest,
    folder: RunFolder,
    record: Run,
    callbacks: Sequence[Any],
) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from amir.training.progress import Follower

    workers = settings.workers
    resources = {"CPU": workers.cpus} | ({"GPU": 1.0} if workers.gpu else {})
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "settings": settings,
            "manifest": manifest,
            "folder": folder.path,
            "mlflow_run_id": record.id or None,
        },
        scaling_config=ScalingConfig(
            num_workers=workers.count, use_gpu=workers.gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(
            # Ray keeps its own state apart, and never a checkpoint: the run folder is the one
            # truth.
            name=f"attempt-{os.getpid()}-{os.urandom(4).hex()}",
            storage_path=str(folder.path / "ray"),
            failure_config=FailureConfig(max_failures=workers.max_failures),
            callbacks=list(callbacks),
        ),
    )
    with Follower(folder, steps=settings.steps, batch=settings.batch):
        trainer.fit()


def _worker(config: dict[str, Any]) -> None:
    """One data-parallel worker: its network, its feed, the loop."""
    import ray.train
    import ray.train.torch

    settings: TrainSettings = config["settings"]
    manifest: Manifest = config["manifest"]
    folder = RunFolder(config["folder"])
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(settings.workers.threads or max(1, int(settings.workers.cpus)))
    device = ray.train.torch.get_device()
    state = _build_state(settings, device)
    _take_up(state, folder, rank, workers)
    restorer = Restorer(state.model, intensity=manifest.intensity, device=device)
    pairs = [
        pair
        for task in settings.data.tasks
        for pair in spread_slices(
            settings.data.path, manifest, "validation", task, settings.validation.slices
        )
    ]
    record = _rank_record(settings, config["mlflow_run_id"] if rank == 0 else None)

    def save(scores: Scores) -> None:
        if rank == 0:
            _save(state, folder, settings, manifest, scores, workers)
        ray.train.report({"step": state.step, "gain": mean_gain(scores)})

    train(
        state,
        ray_batches(
            settings.data.path,
            _plan(settings, manifest),
            start=state.step,
            end=settings.steps,
            rank=rank,
            workers=workers,
            crop=settings.data.crop,
            flips=settings.data.flips,
        ),
        settings,
        device=device,
        rank=rank,
        validate=lambda: validate(restorer, pairs, rank=rank, workers=workers),
        save=save,
        observer=RunObserver(folder, record, batch=settings.batch),
    )


def _plan(settings: TrainSettings, manifest: Manifest) -> Plan:
    index = build_index(manifest, "train", settings.data.tasks)
    return Plan(index, settings.seed, settings.batch, settings.data.sampling)


def _build_state(settings: TrainSettings, device: torch.device) -> TrainingState:
    import ray.train.torch

    torch.manual_seed(settings.seed)
    model = build_model(settings.model.name, **settings.model.network())
    if settings.init_from is not None:
        model.load_state_dict(_initial_weights(settings))
    network = ray.train.torch.prepare_model(model.to(device))
    model = getattr(network, "module", network)  # one worker gets the bare model back
    return TrainingState(model, network, build_optimizer(model, settings.optimizer))


def _take_up(state: TrainingState, folder: RunFolder, rank: int, workers: int) -> None:
    """Go on from the newest sound checkpoint; every worker reads the same folder before any writes
    to it.
    """
    saved = checkpoint.latest(folder.checkpoints)
    if saved is not None:
        before = state.resume(saved)
        if before != workers and rank == 0:
            folder.append(
                [
                    {
                        "step": state.step,
                        "note": f"{before} workers before, {workers} now: other order",
                    }
                ]
            )
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    if rank == 0:
        folder.forget_after(state.step)


def _rank_record(settings: TrainSettings, run_id: str | None) -> Run:
    quiet = settings.tracking if run_id else settings.tracking.model_copy(update={"uri": "none"})
    return open_run(quiet, settings.storage, name="", run_id=run_id)


def _save(
    state: TrainingState,
    folder: RunFolder,
    settings: TrainSettings,
    manifest: Manifest,
    scores: Scores,
    workers: int,
) -> None:
    gain = mean_gain(scores)
    is_best = bool(scores) and (state.best_gain is None or gain > state.best_gain)
    if is_best:
        state.best_gain = gain
    description = checkpoint.describe(
        settings.model.name,
        settings.model.model_dump(mode="json", exclude={"name"}),
        intensity=manifest.intensity,
        dataset_digest=manifest.dataset_digest,
        code_version=code_version(),
        step=state.step,
    )
    named = {str(task): score._asdict() for task, score in scores.items()}
    state.save(folder.checkpoints, settings=description, scores=named, workers=workers)
    if is_best:
        mark_best(folder.checkpoints, state.step)
    best = (folder.checkpoints / "best").read_text() if state.best_gain is not None else None
    prune(folder.checkpoints, keep=settings.checkpoints.keep, best=int(best) if best else None)
