"""What all processes of a service count, as one: whichever is asked answers for all.

Ray sends each question for /metrics to some replica. So every process keeps its numbers in a file
of a folder they share, and the one that answers adds the files up. A counter never falls: what a
dead process counted stays, and each writes its own numbers before it tells them.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
from asyncio import to_thread
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from uuid import uuid4

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from amir.config import ServeSettings
from serve.metrics import METRICS, Metrics

SECONDS_BETWEEN_WRITES = 2.0
_RETIRED = "retired.prom"  # the sum of those whose processes are dead and whose files are gone

log = logging.getLogger(__name__)


class SharedMetrics:
    """One process's part. The folder is this user's alone; its files survive a restart."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder, self._metrics = folder, metrics
        self._file = folder / f"{uuid4().hex}.prom"
        self._written, self._writing = b"", Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._life = self._file.with_suffix(".lock").open("wb")
        fcntl.flock(self._life, fcntl.LOCK_EX)
        with self._turn(fcntl.LOCK_EX):
            self._retire_the_dead()

    async def keep_up(self, before: Callable[[], None] = lambda: None) -> None:
        """Write again and again until cancelled. before: called each time, to set gauges."""
        while True:
            before()
            try:
                await to_thread(self.write)
            except OSError as error:
                log.error("the metrics could not be kept: %s", type(error).__name__)
            await asyncio.sleep(SECONDS_BETWEEN_WRITES)

    def write(self) -> None:
        """Show the others what this process has counted until now."""
        with self._writing:
            text = self._metrics.text()
            if text != self._written:
                _replace(self._file, text)
                self._written = text

    def text(self) -> bytes:
        """What all processes have counted, in the exposition format of Prometheus."""
        self.write()
        with self._turn(fcntl.LOCK_SH):
            return _text(self._sum(self._folder.glob("*.prom")))

    def close(self) -> None:
        """The numbers stay."""
        with suppress(OSError):
            self.write()
        self._life.close()

    def _sum(self, files: Iterable[Path]) -> dict[str, Family]:
        total: dict[str, Family] = {}
        for file in files:
            is_own = file == self._file
            is_alive = is_own or (file.name != _RETIRED and not _is_dead(file))
            for family in text_string_to_metric_families(file.read_text(encoding="utf-8")):
                if _counts(family, is_own=is_own, is_alive=is_alive):
                    _add(total, family)
        return total

    def _retire_the_dead(self) -> None:
        """A process that is killed between the two steps leaves numbers that count twice."""
        dead = [f for f in self._folder.glob("*.prom") if f.name != _RETIRED and _is_dead(f)]
        if dead:
            retired = [f for f in (self._folder / _RETIRED,) if f.exists()]
            _replace(self._folder / _RETIRED, _text(self._sum([*retired, *dead])))
        for file in dead:
            file.unlink()
            file.with_suffix(".lock").unlink(missing_ok=True)

    @contextmanager
    def _turn(self, kind: int) -> Iterator[None]:
        """Nobody retires files while others read them."""
        with (self._folder / "turn").open("wb") as lock:
            fcntl.flock(lock, kind)
            yield


def metrics_folder(settings: ServeSettings) -> Path:
    return settings.metrics_folder or settings.storage / "metrics"


def _is_dead(file: Path) -> bool:
    """A process holds the lock beside its file as long as it lives."""
    try:
        with file.with_suffix(".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True


def _counts(family: Family, *, is_own: bool, is_alive: bool) -> bool:
    """Gauges of the dead say nothing any more, nor do the moments when counters were made."""
    metric = METRICS.get(family.name)
    if metric is None:
        return False
    return is_own or metric.kind != "gauge" or (is_alive and not metric.is_own)


def _add(total: dict[str, Family], family: Family) -> None:
    """Samples of the same name and labels become one."""
    into = total.setdefault(family.name, Family(family.name, family.documentation, family.type))
    values = {(s.name, tuple(sorted(s.labels.items()))): s for s in into.samples}
    for sample in family.samples:
        key = sample.name, tuple(sorted(sample.labels.items()))
        before = values[key].value if key in values else 0.0
        values[key] = sample._replace(value=before + sample.value)
    into.samples = list(values.values())


def _text(families: dict[str, Family]) -> bytes:
    class Sum:
        def collect(self) -> Iterable[Family]:
            return [families[name] for name in METRICS if name in families]

    registry = CollectorRegistry()
    registry.register(Sum())
    return generate_latest(registry)


def _replace(file: Path, text: bytes) -> None:
    """Readers see the old text or the new; it need not survive the machine."""
    beside = file.with_suffix(".partial")
    beside.write_bytes(text)
    beside.replace(file)
