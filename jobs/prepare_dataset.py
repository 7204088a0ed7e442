"""Scanner files to shards: python jobs/prepare_dataset.py --cohort cohort.csv --out data/mine."""

from collections.abc import Sequence
from functools import partial

from amir.command_line import settings_from
from amir.config import PrepareSettings
from amir.dataset.prepare import prepare, ray_map
from amir.dataset.summary import summary
from amir.job import Progress, run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, PrepareSettings)
    each = partial(ray_map, at_once=settings.cpus)
    manifest = prepare(settings, each=each, report=Progress("prepared scans"))
    say(summary(manifest))
    say(f"dataset: {settings.out}\nnext: python jobs/train_all_in_one.py --data {settings.out}")


if __name__ == "__main__":
    run_job(main)
