"""Scanner files to shards: python jobs/prepare_dataset.py --cohort cohort.csv --out DIR.

`--verify --out DIR` compares a dataset's files with their digests; `--preview` shows what was made.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from amir import cluster
from amir.command_line import settings_from
from amir.config import PrepareSettings
from amir.dataset.manifest import read_manifest, verify
from amir.dataset.prepare import prepare, ray_map
from amir.dataset.preview import write_preview
from amir.dataset.summary import summary
from amir.errors import GateError
from amir.job import Progress, run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, PrepareSettings)
    if settings.verify:
        say_verified(settings.out)
        return

    def on_ray(function: Callable[[Any], Any], scans: Sequence[Any]) -> Iterable[Any]:
        cluster.connect()  # not before the cohort was found in order
        return ray_map(function, scans, at_once=settings.cpus)

    if settings.cohort is None:
        manifest = read_manifest(settings.out)
    else:
        manifest = prepare(settings, each=on_ray, report=Progress("prepared scans"))
    say(summary(manifest))
    if settings.preview:
        say(f"preview: {write_preview(settings.out, manifest)}")
    say(f"dataset: {settings.out}\nnext: python jobs/train_all_in_one.py --data {settings.out}")


def say_verified(folder: Path) -> None:
    """One line, or GateError that names every fault."""
    faults = verify(folder)
    if faults:
        raise GateError("; ".join(faults))
    manifest = read_manifest(folder)
    say(f"dataset {folder} is whole: digest {manifest.dataset_digest[:12]}")


if __name__ == "__main__":
    run_job(main)
