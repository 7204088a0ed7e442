"""A collection's folder to a cohort file: python jobs/import_cohort.py --from ixi --root DIR."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import ImportSettings
from amir.dataset.importers.by_layout import import_cohort
from amir.job import run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, ImportSettings, shortcuts={"from": "layout"})
    found = import_cohort(settings)
    options = f" {found.options}" if found.options else ""
    say(found.text())
    say(f"cohort: {settings.out}")
    say(f"next: python jobs/prepare_dataset.py --cohort {settings.out} --out dataset{options}")


if __name__ == "__main__":
    run_job(main)
