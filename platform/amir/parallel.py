"""Ray Data as a parallel map: a block for each item, an outcome for each block, and errors that
arrive as they were raised.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from amir.errors import InputError

SECONDS_PER_ROUND = 0.05  # an actor has work for longer than this waiting in its queue
BYTES_AHEAD = 256 * 2**20  # else Ray Data reads ahead until half of the object store is full


def parallel_map(
    make: Callable[[], Callable[[Any], Any]],
    items: Sequence[int] | Sequence[str],
    *,
    actors: int,
    cpus: float,
    gpus: int = 0,
    ordered: bool = False,
    **batches: Any,
) -> Iterator[Any]:
    """The outcomes of make() called with each item: tables, or dictionaries of arrays, rows first.

    items: at least one. make is called once in each actor. cpus, gpus: of each actor; the cluster
    must have them, or Ray waits for ever. ordered: outcomes in the order of the items, of which no
    more than BYTES_AHEAD wait to be taken; else as they come. batches: options of Ray Data's
    iter_batches.
    """
    from ray.exceptions import RayTaskError

    _set_up(ordered)
    outcomes = _mapped(make, items, actors=actors, cpus=cpus, gpus=gpus)
    try:
        yield from outcomes.iter_batches(**batches)
    except RayTaskError as failure:
        error = _origin(failure)
        told = isinstance(error, InputError)  # its message is all there is to say
        raise error from (None if told else failure)


def _origin(failure: Any) -> BaseException:
    """The error that a worker raised, out of as many of Ray's as processes have passed it on."""
    from ray.exceptions import RayTaskError

    error: BaseException = failure
    while isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return error.error if isinstance(error, _Failure) else error


class PacedRounds:
    """Ray Data calls this after every round of its scheduler, a thread of this process.

    While outcomes wait to be fetched its rounds follow each other without pause (Ray 2.60): beside
    a training loop it would hold the interpreter's lock most of the time.
    """

    def __init__(self) -> None:
        self.round = time.monotonic()

    def on_execution_step(self, executor: object) -> None:
        time.sleep(max(0.0, self.round + SECONDS_PER_ROUND - time.monotonic()))
        self.round = time.monotonic()

    def before_execution_starts(self, executor: object) -> None: ...
    def after_execution_succeeds(self, executor: object) -> None: ...
    def after_execution_fails(self, executor: object, error: Exception) -> None: ...


class _Failure(Exception):  # noqa: N818, never seen by users
    """Carries a worker's error home unchanged; Ray Data adds advice to the messages it sees."""

    @property
    def error(self) -> BaseException:
        error: BaseException = self.args[0]
        return error


def _mapped(make: Any, items: Sequence[Any], *, actors: int, cpus: float, gpus: int) -> Any:
    """The Ray dataset of the outcomes, not yet running."""
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    # Made here and now: from_arrow and range would run tasks, which need a CPU beside the actors'.
    blocks = ray.data.from_items(list(items), override_num_blocks=len(items))
    with warnings.catch_warnings():
        # Ray 2.60 has a new spelling for every option but max_restarts.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return blocks.map_batches(
            _Actor,
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=4),
            num_cpus=cpus,
            num_gpus=gpus or None,
            fn_constructor_args=(make,),
            # A dead actor ends the job, which goes on where it was when run again (training does so
            # by itself): Ray would restart it without end, also one that dies of what it is given.
            max_restarts=0,
        )


class _Actor:
    """Makes its worker with the first item: an error in a constructor would arrive as mere text."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self.make = make
        self.work: Callable[[Any], Any] | None = None

    def __call__(self, block: dict[str, Any]) -> Iterator[Any]:
        for item in block["item"].tolist():
            yield self._outcome(item)

    def _outcome(self, item: Any) -> Any:
        try:
            if self.work is None:
                self.work = self.make()
            return self.work(item)
        except Exception as error:
            raise _Failure(error) from error


def _set_up(ordered: bool) -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = ordered
    context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
        object_store_memory=BYTES_AHEAD if ordered else None
    )
    context.custom_execution_callback_classes = [PacedRounds]
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Of Ray Data's lines on the console: neither its course, nor what the exception tells."""
    return record.levelno == logging.WARNING and "rogress bars" not in record.getMessage()
