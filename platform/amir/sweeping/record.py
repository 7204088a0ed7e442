"""STORAGE/SWEEP: what a sweep was asked, and what became of each of its trials.

sweep.json    format, settings, dataset digest, code version, MLflow run
trials.jsonl  one event a line, each on disk before the next is done: "drawn", "started", "rung",
              "ended"
NUMBER/       the run folder of each trial: the sweep's folder is a storage folder for other jobs
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from amir import durable
from amir.errors import InputError

FORMAT = 1
State = Literal["finished", "stopped", "failed", "running"]


@dataclass(frozen=True)
class Rung:
    """What a validation found. Gains in dB of PSNR above the degraded slices.

    objective: mean over the tasks; minimum: of the task that gains least. seconds: since the first
    step, start-up not counted, of all attempts together.
    """

    step: int
    objective: float
    minimum: float
    gains: Mapping[str, float]
    seconds: float


@dataclass
class Trial:
    """One setting of the space and how its training went.

    number: names its run folder, as in 007. confirms: the trial whose settings this one repeats
    with another seed, None in the search itself. seed: of the training. startup_seconds: from the
    scheduler's decision to the first step, of all attempts together. steps_run: optimizer steps
    done, those that a kill undid included. lasting: whether a failure would come again.
    """

    number: int
    parameters: Mapping[str, Any]
    seed: int
    confirms: int | None = None
    state: State = "running"
    rungs: list[Rung] = field(default_factory=list)
    attempts: int = 0
    startup_seconds: float = 0.0
    steps_run: int = 0
    reason: str | None = None
    lasting: bool = True

    @property
    def name(self) -> str:
        return run_name(self.number)

    @property
    def step(self) -> int:
        """The last step that was validated."""
        return self.rungs[-1].step if self.rungs else 0

    @property
    def objective(self) -> float | None:
        """At the last validation."""
        return self.rungs[-1].objective if self.rungs else None


@dataclass(frozen=True)
class Sweep:
    """A sweep as its folder tells it. about: sweep.json."""

    folder: Path
    about: Mapping[str, Any]
    trials: list[Trial]

    @property
    def search(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.confirms is None]

    @property
    def steps(self) -> int:
        """Of a trial that is trained in full."""
        return int(self.about["settings"]["train"]["steps"])

    def confirmations(self, number: int) -> list[Trial]:
        return [trial for trial in self.trials if trial.confirms == number]


def run_name(number: int) -> str:
    return f"{number:03d}"


def read_sweep(folder: Path) -> Sweep:
    """InputError if the folder is no sweep's, or of a newer format."""
    file = folder / "sweep.json"
    if not file.is_file():
        message = f"{folder} is no sweep: it has no sweep.json; give STORAGE/SWEEP"
        raise InputError("missing_file", message)
    about = json.loads(file.read_text(encoding="utf-8"))
    if about["format"] > FORMAT:
        raise InputError(
            "invalid_setting",
            f"{folder} is of format {about['format']}, this code reads {FORMAT}; update it",
        )
    return Sweep(folder, about, _trials(_events(folder / "trials.jsonl")))


def rungs_as_told(folder: Path) -> list[tuple[int, Rung]]:
    """Trial number and rung, in the order in which the scheduler was told."""
    return [
        (facts.pop("trial"), Rung(**facts))
        for facts in _events(folder / "trials.jsonl")
        if facts.pop("event") == "rung"
    ]


class Record:
    """Writes a sweep's folder; one process at a time does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "trials.jsonl"
        _drop_torn_line(self.file)

    def describe(self, about: Mapping[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, **about}, indent=1)
        durable.write_text(self.folder / "sweep.json", text)

    def drawn(self, trial: Trial) -> None:
        self._append(
            "drawn",
            trial.number,
            parameters=trial.parameters,
            seed=trial.seed,
            confirms=trial.confirms,
        )

    def started(self, number: int, startup_seconds: float) -> None:
        """An attempt of the trial has come to its first step."""
        self._append("started", number, startup_seconds=startup_seconds)

    def rung(self, number: int, rung: Rung) -> None:
        self._append("rung", number, **vars(rung))

    def ended(
        self,
        number: int,
        state: State,
        *,
        steps_run: int,
        reason: str | None = None,
        lasting: bool = True,
    ) -> None:
        self._append(
            "ended", number, state=state, steps_run=steps_run, reason=reason, lasting=lasting
        )

    def _append(self, event: str, number: int, **facts: Any) -> None:
        line = json.dumps({"event": event, "trial": number, **facts})
        with durable.disk_full_is_named(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def _drop_torn_line(file: Path) -> None:
    """Of an event that a kill cut short: the next would else be written behind its half."""
    if file.is_file():
        text = file.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            durable.write_text(file, whole.decode())


def _events(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        for line in file.read_text(encoding="utf-8").split("\n")[:-1]:
            yield json.loads(line)


def _trials(events: Iterator[dict[str, Any]]) -> list[Trial]:
    trials: dict[int, Trial] = {}
    for facts in events:
        event, number = facts.pop("event"), facts.pop("trial")
        if event == "drawn":
            trials[number] = Trial(number, **facts)
        else:
            _add(trials[number], event, facts)
    return [trials[number] for number in sorted(trials)]


def _add(trial: Trial, event: str, facts: dict[str, Any]) -> None:
    if event == "started":
        trial.attempts += 1
        trial.startup_seconds += facts["startup_seconds"]
        trial.state, trial.reason = "running", None
    elif event == "rung":
        trial.rungs.append(Rung(**facts))
    else:
        trial.state, trial.steps_run = facts["state"], facts["steps_run"]
        trial.reason, trial.lasting = facts["reason"], facts["lasting"]
