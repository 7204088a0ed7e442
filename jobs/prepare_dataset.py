"""Scanner files to shards: python jobs/prepare_dataset.py --cohort cohort.csv --out DIR."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from amir import cluster
from amir.command_line import settings_from
from amir.config import PrepareSettings
from amir.dataset.prepare import prepare, ray_map
from amir.dataset.summary import summary
from amir.job import Progress, run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, PrepareSettings)

    def on_ray(function: Callable[[Any], Any], scans: Sequence[Any]) -> Iterable[Any]:
        cluster.connect()  # not before the cohort was found in order
        return ray_map(function, scans, at_once=settings.cpus)

    manifest = prepare(settings, each=on_ray, report=Progress("prepared scans"))
    say(summary(manifest))
    say(f"dataset: {settings.out}\nnext: python jobs/train_all_in_one.py --data {settings.out}")


if __name__ == "__main__":
    run_job(main)
