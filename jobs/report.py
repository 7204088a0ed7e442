"""An evaluation to one HTML page: python jobs/report.py --evaluation FOLDER."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import ReportSettings
from amir.evaluation.report.page import write_report
from amir.job import Progress, run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, ReportSettings)
    page = write_report(settings, report=Progress("measured scans"))
    say(f"{page} ({page.stat().st_size / 1e6:.1f} MB), beside it quantities and routing/")


if __name__ == "__main__":
    run_job(main)
