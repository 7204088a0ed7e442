"""Promotions that are killed, lose their registry or have rivals: what is left of them.

    PYTHONPATH=platform python -m benchmarks.registry_faults [--database server] [--quick]

kills: a promotion asks MLflow for some twenty things; it is killed before and after each of them,
and at twenty random times. The alias must point to the old champion or to the new one, whole, and
the same command must come to its end afterwards. down: from each of the requests on every
connection is refused, or its answer is lost first; the promotion must say so with exit code 2, and
nothing may be half done. rivals: ten processes promote at the same time. Exit code 0 when all of
it held; the last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from amir.checkpoint import Checkpoint
from amir.config import PromoteSettings
from amir.errors import GateError, InputError
from amir.evaluation.scores import in_process
from amir.model_registry.lock import locked
from amir.model_registry.versions import CHAMPION
from amir.promotion import promote as promotion
from amir.promotion.promote import promote, rollback
from amir.references import find_model
from benchmarks.registry_requests import Requests
from benchmarks.registry_scene import DATABASES, Scene, answered, ended, forked, scenes

RANDOM_KILLS, RIVALS = 20, 10
LEASE = 6.0  # seconds, and not thirty: after many a kill the next promotion waits for its end
# By this process, and not by every fork of it.
IMPORTED_ONCE = ("mlflow.artifacts", "sqlalchemy", "scipy.stats", "matplotlib.pyplot")
Found = dict[str, Any]


def kills(scene: Scene, quick: bool) -> Found:
    settings = scene.asked(scene.off_by(0.1))
    start = time.monotonic()
    names = answered(lambda: requests_of(scene, settings), scene.folder)
    seconds = time.monotonic() - start  # with the scoring, which is read again from here on
    found = []
    for number, after in moments(names, quick):
        requests = Requests(number, killed, after=after)
        ended(forked(lambda asked=requests: attempt(settings, asked)))
        found.append(answered(lambda: look(scene, settings), scene.folder))
    chance = random.Random(0)
    for _ in range(3 if quick else RANDOM_KILLS):
        pid = forked(lambda: attempt(settings, Requests(), anew=True))
        time.sleep(chance.uniform(0, 1.1) * seconds)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        ended(pid)
        found.append(answered(lambda: look(scene, settings), scene.folder))
    return counted(found) | {"requests": len(names)}


def down(scene: Scene, quick: bool) -> Found:
    settings = scene.asked(scene.off_by(0.1))
    names = answered(lambda: requests_of(scene, settings), scene.folder)
    found = []
    for number, after in moments(names, quick):
        requests = Requests(number, answer_is_lost if after else unreachable, after=after)
        code = ended(forked(lambda asked=requests: attempt(settings, asked)))
        left = answered(lambda: look(scene, settings), scene.folder)
        said = code == 2 or (code == 0 and left["promoted"])
        found.append(left | {"sound": left["sound"] and said})
    return counted(found) | {"requests": len(names)}


def rivals(scene: Scene, quick: bool) -> Found:
    """The best is neither the first nor the last to start."""
    count = 4 if quick else RIVALS
    errors = [0.5 - 0.5 * k / (count - 1) for k in range(count)]
    errors = [*errors[count // 2 :], *errors[: count // 2]]
    models = [scene.off_by(error) for error in errors]
    for pid in [forked(lambda one=model: tell(scene, one)) for model in models]:
        ended(pid)
    told = [json.loads((scene.folder / f"{m.folder.name}.json").read_text()) for m in models]
    for error, each in zip(errors, told, strict=True):
        against = " then ".join(f"version {number}" for number in each["judged"])
        print(f"error {error:.3f}: judged against {against}; {each['said']}", flush=True)
    chain = answered(lambda: succession(scene), scene.folder)
    best = told[errors.index(min(errors))]["version"]
    promoted = [each for each in told if each["version"]]
    succeeded = dict(zip(chain[1:], chain, strict=False))
    judged = all(each["judged"][-1] == succeeded.get(each["version"]) for each in promoted)
    return {
        "sound": chain[-1] == best and judged and len(chain) == 1 + len(promoted),
        "rivals": count,
        "promoted": len(promoted),
        "refused": count - len(promoted),
        "judged_anew": sum(len(each["judged"]) - 1 for each in told),
        "champions": chain,
    }


def succession(scene: Scene) -> list[int]:
    """The champions, from the first to the one of now, by what each says it replaced; an error if
    that one cannot be loaded.
    """
    registry = scene.registry()
    find_model("models:/amir@champion", storage=scene.folder, tracking_uri=scene.uri)
    now = registry.at(CHAMPION)
    chain = []
    while now is not None:
        chain.append(now.number)
        now = registry.version(now.replaces) if now.replaces else None
    return chain[::-1]


def tell(scene: Scene, model: Checkpoint) -> None:
    """Promote a model, and write down against whom it was judged and what came of it."""
    said: list[str] = []
    version = None
    try:
        done = promote(scene.asked(model), each=in_process, say=said.append)
        version = done.version.number if done.version else None
        outcome = f"promoted as version {version}"
    except (GateError, InputError) as error:
        outcome = str(error)
    judged = [
        int(text.split("(version ", 1)[1].split(",")[0]) for text in said if "\nmodel" in text
    ]
    text = json.dumps({"judged": judged, "version": version, "said": outcome})
    (scene.folder / f"{model.folder.name}.json").write_text(text)


def attempt(settings: PromoteSettings, requests: Requests, *, anew: bool = False) -> int:
    """A whole promotion; its exit code. anew: forget what was scored before."""
    if anew:
        shutil.rmtree(settings.storage / "promotions", ignore_errors=True)
    with requests.watched():
        try:
            promote(settings, each=in_process)
        except InputError as error:
            claims = "no alias was moved" in str(error)
            return 1 if claims and "set_registered_model_alias" in requests.names else 2
    return 0


def look(scene: Scene, settings: PromoteSettings) -> dict[str, bool]:
    """Whether the alias has moved, and all is sound: it points to a whole version, the same command
    comes to its end, and a rollback leads to the old champion.
    """
    registry = scene.registry()
    found, promoted = registry.at(CHAMPION), False
    sound = found is not None and scene.is_whole(found)
    if found is not None:
        promoted = found.number != scene.champion
    insisting(lambda: promote(settings, each=in_process))  # what was judged is read again
    now = registry.at(CHAMPION)
    sound = sound and now is not None and now.number != scene.champion and scene.is_whole(now)
    insisting(lambda: rollback(registry, CHAMPION))
    back = registry.at(CHAMPION)
    sound = sound and back is not None and back.number == scene.champion
    return {"promoted": promoted, "sound": sound}


def requests_of(scene: Scene, settings: PromoteSettings) -> list[str]:
    """What an undisturbed promotion asks of MLflow; the old champion is back then."""
    requests = Requests()
    attempt(settings, requests)
    insisting(lambda: rollback(scene.registry(), CHAMPION))
    return requests.names


def insisting(change: Callable[[], object]) -> None:
    """Change an alias, on a machine that is busy for longer than the lease at the third try."""
    for left in (2, 1, 0):
        try:
            change()
            return
        except InputError as error:
            if error.code != "locked" or not left:
                raise


def moments(names: Sequence[str], quick: bool) -> list[tuple[int, bool]]:
    """Before and after each request: its number, and whether it is answered before the fault."""
    every = [(number, after) for number in range(len(names)) for after in (False, True)]
    return every[:: 9 if quick else 1]


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def unreachable() -> None:
    """From now on this process reaches no server: every connection is refused, open ones too."""
    import urllib3.connection

    def refuse(*arguments: Any, **further: Any) -> None:
        raise ConnectionRefusedError(111, "connection refused")

    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "0"  # else it waits between its tries
    urllib3.connection.HTTPConnection.request = refuse


def answer_is_lost() -> None:
    unreachable()
    raise ConnectionResetError(104, "connection reset by peer")


def counted(found: Sequence[dict[str, bool]]) -> Found:
    return {
        "sound": all(each["sound"] for each in found),
        "tries": len(found),
        "not_sound": sum(not each["sound"] for each in found),
        "promoted_all_the_same": sum(each["promoted"] for each in found),
    }


SECTIONS: dict[str, Callable[[Scene, bool], Found]] = {
    "kills": kills,
    "down": down,  # SQLite is a file, and has no server to lose
    "rivals": rivals,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--only", nargs="+", choices=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="a ninth of the kills, four rivals")
    chosen = parser.parse_args()
    has_server = chosen.database != "sqlite"
    sections = chosen.only or [name for name in SECTIONS if has_server or name != "down"]
    if not has_server and "down" in sections:
        parser.error("down: SQLite has no server to lose; give --database server or postgresql")
    torch.set_num_threads(1)
    promotion.locked = partial(locked, lease=LEASE)
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    found = {}
    with scenes(chosen.database) as make:
        for name in sections:
            start = time.monotonic()
            found[name] = SECTIONS[name](make(name), chosen.quick)
            told = ", ".join(f"{key} {value}" for key, value in found[name].items())
            print(f"{name} ({time.monotonic() - start:.0f} s): {told}", flush=True)
    print(json.dumps({"database": chosen.database, **found}))
    return 0 if all(each["sound"] for each in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
