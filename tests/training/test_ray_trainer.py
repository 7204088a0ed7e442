"""What surrounds a training on Ray, without Ray."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from amir.config import WorkerSettings
from amir.errors import InputError
from amir.training.divergence import DivergedError
from amir.training.ray_trainer import interruptible, reason_of
from amir.training.worker import torch_threads


@pytest.mark.parametrize(
    ("chosen", "threads"),
    [({}, 1), ({"cpus": 0.5}, 1), ({"cpus": 3.5}, 3), ({"cpus": 1, "threads": 2}, 2)],
)
def test_a_worker_has_a_thread_for_each_of_its_cpus_unless_set(
    chosen: dict[str, Any], threads: int
) -> None:
    assert torch_threads(WorkerSettings(**chosen)) == threads


class WorkersFailedError(Exception):
    """As Ray Train's WorkerGroupError."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__("Training failed due to worker errors")
        self.worker_failures = dict(enumerate(errors))


@pytest.mark.parametrize(
    "error",
    [
        InputError("invalid_dataset", "shard 3 is damaged"),
        DivergedError("the loss is nan"),
        OSError(28, "No space left on device"),
    ],
)
def test_the_error_that_says_what_is_wrong_is_told(error: Exception) -> None:
    collateral = RuntimeError("Connection closed by peer")
    assert reason_of(WorkersFailedError(collateral, error)) is error


def test_any_other_failure_is_told_as_ray_tells_it() -> None:
    failure = WorkersFailedError(RuntimeError("a bug"), RuntimeError("Connection closed by peer"))
    assert reason_of(failure) is failure


def answer_as_ray_train_does() -> None:
    """Ray Train puts in its own answer to Ctrl-C, which leaves like a job well done."""
    with interruptible():
        signal.signal(signal.SIGINT, lambda *_: None)
        raise SystemExit(0)


def test_an_interrupted_training_does_not_pass_for_a_good_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        answer_as_ray_train_does()
    assert signal.getsignal(signal.SIGINT) is before
