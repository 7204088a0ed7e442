"""Settings to their best: python tune/search.py --data DIR --config tune/configs/routing.yaml."""

from collections.abc import Sequence
from shlex import quote

from amir import cluster
from amir.command_line import settings_from
from amir.config import SweepSettings
from amir.job import run_job, say
from amir.sweeping.search import check, run_sweep
from amir.sweeping.tables import ranked, summary

SHORTCUTS = {"data": "train.data.path", "steps": "train.steps"}


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, SweepSettings, shortcuts=SHORTCUTS)
    check(settings)
    cluster.connect()
    sweep = run_sweep(settings, say=say)
    say(summary(sweep))
    say(f"page: {sweep.folder / 'summary.html'}")
    if best := ranked(sweep):
        storage, folder = quote(str(settings.storage)), quote(str(sweep.folder))
        model, data = f"{folder}/{best[0].name}", quote(str(settings.train.data.path))
        say(f"next: python jobs/promote.py --model {model} --storage {storage} --data {data}")
        say(f"or train it longer: python jobs/train_all_in_one.py --config {folder}/best.yaml")


if __name__ == "__main__":
    run_job(main)
