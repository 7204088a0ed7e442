"""How the runs stand, without Ray and without MLflow: python jobs/status.py --storage storage."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import StatusSettings
from amir.job import run_job, say
from amir.training.backfill import backfilled
from amir.training.status import statuses


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, StatusSettings)
    for status in statuses(settings):
        say(status)
    if settings.backfill:
        for told in backfilled(settings):
            say(told)


if __name__ == "__main__":
    run_job(main)
