"""Shards to a trained network: python jobs/train_all_in_one.py --data DIR --config FILE.yaml."""

from collections.abc import Sequence

from amir import cluster
from amir.command_line import settings_from
from amir.config import TrainSettings
from amir.job import run_job, say
from amir.training.forecast import forecast
from amir.training.ray_trainer import check, run

SHORTCUTS = {"data": "data.path"}


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, TrainSettings, shortcuts=SHORTCUTS)
    manifest = check(settings)
    if settings.dry_run:
        for line in forecast(settings, manifest):
            say(line)
        return
    cluster.connect()
    result = run(settings)
    name = result.folder.name
    say(f"run {name}: best checkpoint at step {result.best.step}, model {result.best.digest[:12]}")
    say(f"folder: {result.folder.path}")
    say(
        f"next: python jobs/evaluate.py --data {settings.data.path} --models {name} "
        f"--storage {settings.storage} --out {settings.storage}/{name}/evaluation"
    )


if __name__ == "__main__":
    run_job(main)
