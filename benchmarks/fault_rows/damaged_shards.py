"""F6: bytes of shards are changed, cut or taken away, before a training and in its midst."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Generator
from pathlib import Path

from amir.config import TrainSettings
from amir.dataset.cohort import SPLITS
from amir.dataset.manifest import Manifest, check_shards, read_manifest, sound_part
from amir.dataset.reader import Batch, Reader
from amir.errors import InputError
from amir.training import alone
from amir.training.alone import train_alone
from amir.training.ray_trainer import run as train
from benchmarks.fault_rows.damaged_checkpoints import cut, flipped, overwritten, taken_away
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.small_training import losses, small_ray, small_settings, workplace

TARGET = (
    "every damage found; the error names shard and rows; trained without only by choice, counted"
)
LOOPS, QUICK = 500, 50
MUTATIONS = {"flipped": flipped, "cut": cut, "overwritten": overwritten, "missing": taken_away}


def run(*, quick: bool) -> Outcome:
    with workplace() as place:
        fuzzed, wrong = fuzz(place / "data", QUICK if quick else LOOPS)
        wrong += taken_in_the_midst(place)
        told, more = left_out(place)
    wrong += more
    return Outcome(not wrong, f"{fuzzed}; {told}; wrong: {'; '.join(wrong[:5]) or 'none'}")


def fuzz(data: Path, loops: int) -> tuple[str, list[str]]:
    """Each damage is refused by name, and what is sound is found."""
    manifest, generator = read_manifest(data), random.Random(6)
    entries = [entry for split in SPLITS for entry in manifest.of(split)]
    places: Counter[str] = Counter()
    wrong = []
    for loop in range(loops):
        entry, kind = generator.choice(entries), generator.choice(sorted(MUTATIONS))
        path = data / entry.file
        sound = path.read_bytes()
        MUTATIONS[kind](path, generator)
        if path.is_file() and path.read_bytes() == sound:  # zeros written over zeros
            kind = "the same"
        said = refusal(data, manifest)
        places[_place(said)] += 1
        part, faults = sound_part(data, manifest)
        named = entry.file in said and ("missing" in said or "(rows" in said or "(footer" in said)
        left = entry.file not in {e.file for split in SPLITS for e in part.of(split)}
        if kind != "the same" and not (named and left and len(faults) == 1):
            wrong.append(f"{loop} ({kind} {entry.file}): {said or 'not found'}")
        path.write_bytes(sound)
    return ", ".join(f"{count} {place}" for place, count in places.most_common()), wrong


def refusal(data: Path, manifest: Manifest) -> str:
    try:
        check_shards(data, manifest)
    except InputError as error:
        return str(error)
    return ""


def _place(said: str) -> str:
    if not said:
        return "without a change"
    known = {"(rows": "in rows that are named", "is missing": "missing"}
    return next((told for part, told in known.items() if part in said), "outside the rows")


def taken_in_the_midst(place: Path) -> list[str]:
    """A shard that is cut short while a training reads it ends the training, by name."""
    shutil.copytree(place / "data", place / "midst")
    settings = small_settings(place, "midst", steps=40, **{"data.path": place / "midst"})
    victims = [entry.file for entry in read_manifest(settings.data.path).of("train")]

    class Spoilt(Reader):
        def batches(self, *steps: int, **who: int) -> Generator[Batch, None, None]:
            for batch in super().batches(*steps, **who):
                if int(batch["step"][0]) == 10:
                    for victim in victims:
                        (self.folder / victim).write_bytes(b"PAR1")
                yield batch

    # The reader that the run makes for itself is this one from here on.
    from amir.training import worker

    plain, worker.Reader = worker.Reader, Spoilt  # type: ignore[misc]
    try:
        train_alone(settings)
    except InputError as error:
        named = any(victim in str(error) for victim in victims) and "row" in str(error)
        return [] if named else [f"in the midst: {error}"]
    finally:
        worker.Reader = plain  # type: ignore[misc]
        assert alone.Reader is Reader
    return ["in the midst: trained on"]


def left_out(place: Path) -> tuple[str, list[str]]:
    """On Ray: refused by default, trained without where that is chosen, and counted."""
    shutil.copytree(place / "data", place / "torn")
    victim = read_manifest(place / "torn").of("train")[0]
    flipped(place / "torn" / victim.file, random.Random(7))

    def settings(**chosen: str) -> TrainSettings:
        own = {"data.path": place / "torn", "steps": 12, **chosen}
        return small_settings(place, "torn", **own)

    wrong = []
    with small_ray():
        try:
            train(settings())
            wrong.append("trained on a damaged shard")
        except InputError as error:
            if victim.file not in str(error):
                wrong.append(f"refused otherwise: {error}")
        folder = train(settings(**{"data.damaged": "skip"})).folder
    counted = [row["data/shards_left_out"] for row in folder.rows() if "note" in row]
    if counted != [1] or len(losses(folder)) != 12:
        wrong.append(f"counted {counted}, trained {len(losses(folder))} steps")
    return "by choice trained without 1 shard, counted in the run's record", wrong
