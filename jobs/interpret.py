"""A model's routing in figures: python jobs/interpret.py --model RUN --data DIR --out FOLDER."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import InterpretSettings
from amir.evaluation.routing.interpret import interpret
from amir.job import run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, InterpretSettings)
    seen = interpret(settings)
    for chart in seen.charts:
        say(f"{chart.name}.svg: {chart.text}")
    say(f"figures and tables: {settings.out}")


if __name__ == "__main__":
    run_job(main)
