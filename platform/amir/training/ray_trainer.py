"""A training run on Ray Train: checks first, then workers, then the record of what came out."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from amir import allocator, cluster
from amir.checkpoint import Checkpoint
from amir.config import TrainSettings, WorkerSettings
from amir.dataset.loading import ACTOR_CPUS
from amir.dataset.manifest import Manifest, check_shards, read_manifest, sound_part
from amir.dataset.reader import build_index
from amir.errors import InputError
from amir.references import find_model
from amir.tracking import tracking_uri
from amir.training.attempt import attempt
from amir.training.divergence import DivergedError
from amir.training.initial import initial_model
from amir.training.pictures import draw_validation_picture
from amir.training.progress import Follower
from amir.training.ray_worker import train_worker
from amir.training.run_folder import RunFolder, check_may_go_on
from amir.training.worker import WorkerTask, worker_task

log = logging.getLogger(__name__)
LASTING = (InputError, DivergedError)  # errors that come again, however often a worker is restarted


@dataclass(frozen=True)
class Result:
    """What a finished run left: its folder, and its best checkpoint."""

    folder: RunFolder
    best: Checkpoint


def run(
    settings: TrainSettings,
    *,
    callbacks: Sequence[Any] = (),
    tags: Mapping[str, str] | None = None,
    patience: float = 0,
) -> Result:
    """Train as set, on the Ray this process is connected to; an unfinished run of the same name
    goes on.

    callbacks: Ray Train's, such as Tune's TuneReportCallback. tags, patience: as of `attempt`.
    InputError before anything starts if the dataset, the settings or the cluster will not do.
    """
    settings = _with_absolute_paths(settings)
    manifest = check(settings)
    manifest, left_out = checked_shards(settings, manifest)
    _check_cluster(settings.workers)
    with attempt(settings, manifest, tags=tags, patience=patience) as (folder, record):
        task = worker_task(settings, manifest, folder, record, left_out)
        _fit(task, callbacks)
        best = find_model(str(folder.path), storage=settings.storage)
        record.file(draw_validation_picture(settings, manifest, folder.path, best))
    return Result(folder, best)


def check(settings: TrainSettings) -> Manifest:
    """The dataset's manifest; InputError where one need not wait for Ray to know what is wrong."""
    manifest = read_manifest(settings.data.path)
    build_index(manifest, "train", settings.data.tasks)
    build_index(manifest, "validation", settings.data.tasks)
    initial_model(settings)
    check_may_go_on(settings, manifest.dataset_digest)
    return manifest


def checked_shards(settings: TrainSettings, manifest: Manifest) -> tuple[Manifest, list[str]]:
    """The manifest of what is trained on, and why each shard that it lacks is left out, by choice.

    InputError at missing or damaged shards, or if leaving them out leaves a task without slices.
    """
    if settings.data.damaged == "stop":
        check_shards(settings.data.path, manifest)
        return manifest, []
    sound, faults = sound_part(settings.data.path, manifest)
    build_index(sound, "train", settings.data.tasks)
    build_index(sound, "validation", settings.data.tasks)
    for fault in faults:
        log.warning("left out: %s", fault)
    return sound, faults


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


def _check_cluster(workers: WorkerSettings) -> None:
    gpus = 1 if workers.gpu else 0
    # Of an elastic run as many as there will be: Ray takes all that fit, and room for their feeds
    # must be left.
    fit = cluster.places(workers.cpus, gpus)
    count = max(workers.counts[0], min(fit, workers.count))
    cluster.require(
        cpus=workers.cpus,
        gpus=gpus,
        workers=count,
        beside=count * ACTOR_CPUS,
        purpose=f"training with {count} workers and their data feeds",
        remedy="lower --workers.count or --workers.cpus, or add nodes (Ray would wait for ever)",
    )


def _fit(task: WorkerTask, callbacks: Sequence[Any]) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    settings, folder = task.settings, task.folder
    workers, least = settings.workers, settings.workers.counts[0]
    # Ray keeps its own state apart, and never a checkpoint: the run folder is the one truth.
    ray_folder = folder.path / "ray"
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(
            num_workers=workers.count if least == workers.count else (least, workers.count),
            elastic_resize_monitor_interval_s=workers.look_seconds,
            use_gpu=workers.gpu,
            resources_per_worker={"CPU": workers.cpus} | ({"GPU": 1} if workers.gpu else {}),
        ),
        run_config=RunConfig(
            name=f"attempt-{os.getpid()}-{os.urandom(4).hex()}",
            storage_path=str(ray_folder),
            failure_config=FailureConfig(max_failures=workers.max_failures),
            callbacks=[*callbacks, _stop_early()],
            worker_runtime_env={"env_vars": allocator.ENVIRONMENT},
        ),
    )
    try:
        with interruptible(), Follower(folder, steps=settings.steps, batch=settings.batch):
            trainer.fit()
    except TrainingFailedError as error:
        raise reason_of(error) from error
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)


def _stop_early() -> Any:
    """A callback for Ray Train, which would else start anew after an error that must come again."""
    from ray.train import UserCallback

    class StopEarly(UserCallback):
        def after_exception(
            self, run_context: Any, worker_exceptions: dict[int, Exception]
        ) -> None:
            for error in worker_exceptions.values():
                if isinstance(error, LASTING):
                    raise error

    return StopEarly()


def reason_of(failure: Any) -> BaseException:
    """The error behind Ray Train's if it tells by itself what is wrong, such as a full disk.

    A worker that fails takes the others with it: theirs say no more than that a connection is lost.
    """
    errors = [getattr(failure, "controller_failure", None)]
    errors += getattr(failure, "worker_failures", {}).values()
    return next((error for error in errors if isinstance(error, (*LASTING, OSError))), failure)


@contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM, which `ray job stop` sends, end the training with its state told.

    Ray Train answers the one with exit code 0, even after the training, and Ray the other with an
    abort.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    if main:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        for which, handler in before.items() if main else ():
            signal.signal(which, handler)
