"""F5: bits of a checkpoint are flipped, files cut, emptied, exchanged or taken away."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from amir import checkpoint
from amir.errors import InputError
from amir.references import find_model
from amir.training.alone import train_alone
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.fault_rows.warnings_told import Warnings
from benchmarks.small_training import small_settings, workplace

TARGET = "500 mutations: all found, none loaded, the checkpoint before is used and it is said"
LOOPS, QUICK = 500, 50


def run(*, quick: bool) -> Outcome:
    loops, generator = QUICK if quick else LOOPS, random.Random(5)
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    with workplace() as place:
        settings = small_settings(place, "run", steps=6, **{"checkpoints.every": 3})
        run_folder = train_alone(settings)
        told = Warnings(checkpoint.__name__)
        for loop in range(loops):
            copy = place / "copy"
            shutil.copytree(run_folder.checkpoints, copy / "run" / "checkpoints")
            kind, mutate = generator.choice(MUTATIONS)
            file = generator.choice(sorted((copy / "run" / "checkpoints" / "6").iterdir()))
            mutate(file, generator)
            counted[kind] += 1
            wrong += [f"{loop} ({kind} {file.name}): {fault}" for fault in faults(copy, told)]
            shutil.rmtree(copy)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counted.most_common())
    figure = f"{loops} mutations ({kinds}); wrong: {'; '.join(wrong[:5]) or 'none'}"
    return Outcome(not wrong, figure)


def faults(storage: Path, told: Warnings) -> list[str]:
    """What should not be, of a run whose checkpoint 6 is damaged and whose checkpoint 3 is not."""
    told.told.clear()
    found = checkpoint.latest(storage / "run" / "checkpoints")
    wrong = []
    if found is None or found.step != 3:
        wrong.append(f"the newest sound one is {found and found.step}")
    if len(told.told) != 1 or "6" not in told.told[0]:
        wrong.append(f"told {told.told}")
    try:
        find_model("run@6", storage=storage)
        wrong.append("loaded")
    except InputError:
        pass
    return wrong


def flipped(file: Path, generator: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    file.write_bytes(content)


def cut(file: Path, generator: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: generator.randrange(len(content))])


def overwritten(file: Path, generator: random.Random) -> None:
    """As a disk leaves it that lost a block."""
    content = bytearray(file.read_bytes())
    place = generator.randrange(len(content))
    content[place : place + 512] = bytes(len(content[place : place + 512]))
    file.write_bytes(content)


def grown(file: Path, generator: random.Random) -> None:
    file.write_bytes(file.read_bytes() + generator.randbytes(generator.randrange(1, 100)) + b"!")


def taken_away(file: Path, generator: random.Random) -> None:
    file.unlink()


def exchanged(file: Path, generator: random.Random) -> None:
    """For the same file of another checkpoint."""
    other = file.parent.with_name("3") / file.name
    same = other.read_bytes() == file.read_bytes()
    file.write_bytes(b"{}" if same or file.name == "digests.json" else other.read_bytes())


Mutation = Callable[[Path, random.Random], None]
MUTATIONS: list[tuple[str, Mutation]] = [
    ("flipped", flipped),
    ("cut", cut),
    ("overwritten", overwritten),
    ("grown", grown),
    ("taken away", taken_away),
    ("exchanged", exchanged),
]
