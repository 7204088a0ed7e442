"""metrics.jsonl to MLflow: in order, each line once, later where MLflow is away."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any

from amir.tracking import Run
from amir.training.run_folder import RunFolder
from amir.training.tail import whole_lines

SECONDS_BETWEEN_CALLS = 5.0
LONGEST_PAUSE = 60.0
LINES_PER_CALL = 50
log = logging.getLogger(__name__)


class Forwarder:
    """Sends what a run's metrics.jsonl holds and MLflow has not taken; a context manager that does
    so from a thread of its own, because nothing may wait for MLflow.

    metrics.jsonl is the spool. How far MLflow took it is written beside it, so another process goes
    on there; a line that is sent again after a kill counts once, because its time is sent with it.
    """

    def __init__(self, folder: RunFolder, record: Run) -> None:
        self.folder, self.record = folder, record
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._forward, daemon=True)

    def __enter__(self) -> Forwarder:
        if self.record.id:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            self.send()

    def send(self) -> bool:
        """Send all that is there; False as soon as MLflow does not take it."""
        sent = self.folder.sent()
        for lines in _parts(whole_lines(self.folder.metrics, sent)):
            if not self._send(lines):
                return False
            sent += sum(map(len, lines))
            self.folder.set_sent(sent)
        return True

    def unsent(self) -> int:
        """Lines that MLflow has not taken."""
        return len(whole_lines(self.folder.metrics, self.folder.sent())) if self.record.id else 0

    def send_within(self, seconds: float) -> None:
        """Send all that is there, trying again for so long; what is left is told, and stays."""
        end, pause = time.monotonic() + seconds, 1.0
        while self.record.id and not self.send() and time.monotonic() + pause < end:
            time.sleep(pause)
            pause *= 2
        if left := self.unsent():
            log.warning(
                "%d lines of %s are not in MLflow; python jobs/status.py --run %s --storage %s "
                "--backfill sends them",
                left,
                self.folder.metrics.name,
                self.folder.name,
                self.folder.path.parent,
            )

    def _forward(self) -> None:
        pause = SECONDS_BETWEEN_CALLS
        while not self._stop.wait(pause):
            pause = SECONDS_BETWEEN_CALLS if self.send() else min(2 * pause, LONGEST_PAUSE)

    def _send(self, lines: Sequence[bytes]) -> bool:
        rows = [json.loads(line) for line in lines]
        told = [row for row in rows if "time" in row]  # notes have none
        times = [row["time"] for row in told]
        return self.record.metrics([(row["step"], _values(row)) for row in told], times=times)


def _parts(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    remaining = iter(lines)
    while part := list(islice(remaining, LINES_PER_CALL)):
        yield part


def _values(row: dict[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in row.items()
        if "/" in name and isinstance(value, (int, float))  # as MLflow's metrics are called
    }
