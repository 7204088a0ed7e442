"""What a model's training data looks like: python jobs/outliers.py --model RUN --data DATASET."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import MeasureSettings
from amir.job import run_job, say
from amir.training.outliers import measure_model


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, MeasureSettings)
    statistics = measure_model(settings)
    for name, count in statistics.facts["slices"].items():
        say(f"{name}: {count} slices")
    say(f"stored with {settings.model}: restoring now tells scans that are unlike these")


if __name__ == "__main__":
    run_job(main)
