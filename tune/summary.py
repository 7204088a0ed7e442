"""One page about a sweep, running or ended: python tune/summary.py --sweep NAME."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import SummarySettings
from amir.job import run_job, say
from amir.sweeping.page import write_summary


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, SummarySettings)
    say(f"page: {write_summary(settings.storage / settings.sweep)}")


if __name__ == "__main__":
    run_job(main)
