"""Models to the paper's table: python jobs/evaluate.py --data DIR --models RUN --out FOLDER."""

from collections.abc import Sequence

from amir import cluster
from amir.command_line import settings_from
from amir.config import EvaluateSettings
from amir.evaluation.evaluate import check, evaluate
from amir.job import Progress, run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, EvaluateSettings)
    check(settings)
    cluster.connect()
    evaluation = evaluate(settings, report=Progress("scored scans"))
    say(evaluation.text)
    say(f"scores, tables by task and patient, tests, picture: {evaluation.folder}")


if __name__ == "__main__":
    run_job(main)
