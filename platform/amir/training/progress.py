"""A line of progress for people, read from the run folder."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

from amir.modality import Modality
from amir.tracking import BALANCE, GAIN, L1, LEFT_OUT, RATE, WITHOUT, WORKERS
from amir.training.run_folder import RunFolder
from amir.training.tail import Tail

SECONDS_BETWEEN_LINES = 5.0
ROWS_PER_MEAN = 50


class Follower:
    """Prints a line when metrics.jsonl has grown, at most every five seconds; a context manager."""

    def __init__(self, folder: RunFolder, *, steps: int, batch: int) -> None:
        self.folder, self.steps, self.batch = folder, steps, batch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._tail = Tail(folder.metrics)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._print_news()

    def _follow(self) -> None:
        while not self._stop.wait(SECONDS_BETWEEN_LINES):
            self._print_news()

    def _print_news(self) -> None:
        news = self._tail.news()
        if news:
            before = [] if self._tail.is_anew else self._rows
            self._rows = told_rows([*before, *news])
            sys.stdout.write(progress_line(self._rows, steps=self.steps, batch=self.batch) + "\n")
            sys.stdout.flush()


def told_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that a line of progress is made of: a long run has many more."""
    last = rows[-ROWS_PER_MEAN:]
    kept = [row for row in rows[:-ROWS_PER_MEAN] if LEFT_OUT in row or "note" in row]
    validated = [row for row in rows[:-ROWS_PER_MEAN] if GAIN in row][-1:]
    return [*kept, *validated, *last]


def progress_line(rows: list[dict[str, Any]], *, steps: int, batch: int) -> str:
    """Step, rate, time left, losses, last validation. rows: of metrics.jsonl, at least one."""
    trained = [row for row in rows if L1 in row]
    left_out = sum(LEFT_OUT in row for row in rows)
    parts = [f"step {rows[-1]['step']}/{steps}"]
    if trained:
        latest = trained[-ROWS_PER_MEAN:]
        rate = 1 / _mean_of([1 / row[RATE] for row in latest])
        parts += [
            f"{rate:.1f} crops/s",
            f"{duration((steps - trained[-1]['step']) * batch / rate)} left",
            f"l1 {_mean_of([row[L1] for row in latest]):.4f}{_by_task(latest)}",
            f"balance {_mean_of([row[BALANCE] for row in latest]):.2f}",
        ]
    if left_out:
        parts.append(f"{left_out} steps left out")
    for row in [row for row in rows if WITHOUT in row][-1:]:
        parts.append(f"without {row[WITHOUT]} damaged shards")
    for row in [row for row in rows if _workers_changed(row)][-1:]:
        parts.append(
            f"{row[WORKERS]} workers since {row['step']}, {row['before']} before: other rounding "
            "and gate noise"
        )
    validated = [row for row in rows if GAIN in row]
    if validated:
        last = validated[-1]
        gains = [
            f"{name.split('/')[1]} {value:+.2f}"
            for name, value in last.items()
            if name.endswith("/gain") and name != GAIN
        ]
        parts.append(f"gain at {last['step']}: {' '.join(gains)} dB")
    return " | ".join(parts)


def _workers_changed(row: dict[str, Any]) -> bool:
    return WORKERS in row and row[WORKERS] != row["before"]


def _by_task(rows: list[dict[str, Any]]) -> str:
    """(MRI 0.0123 CT 0.0045): each task's error over the steps that had a slice of it."""
    names = [(task, f"{L1}/{task}") for task in Modality]
    found = [(task, [row[name] for row in rows if name in row]) for task, name in names]
    told = " ".join(f"{task} {_mean_of(errors):.4f}" for task, errors in found if errors)
    return f" ({told})" if told else ""


def _mean_of(values: list[float]) -> float:
    return sum(values) / len(values)


def duration(seconds: float) -> str:
    """As a clock shows it: 0:07, 12:30, 3:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
