"""Compare searches on one space: python tune/study.py --config tune/configs/study.yaml."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import StudySettings
from amir.job import Progress, run_job, say
from amir.sweeping.curves import train_curves

SHORTCUTS = {"data": "train.data.path"}


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, StudySettings, shortcuts=SHORTCUTS)
    file = train_curves(settings, report=Progress("trained settings"))
    say(f"curves: {file}")


if __name__ == "__main__":
    run_job(main)
