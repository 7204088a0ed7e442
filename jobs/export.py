"""A model to take away: python jobs/export.py --model models:/amir@champion --out FOLDER."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import ExportSettings
from amir.job import run_job, say
from amir.promotion.export import export_model


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, ExportSettings)
    model, deviation = export_model(settings)
    say(f"model {model.digest[:12]}: {settings.out}")
    if deviation is not None:
        say(f"network.pt2 deviates from the network by at most {deviation:.1e} of 0..1")
    say(f"next: python jobs/restore.py --model {settings.out} --input SCAN --out RESTORED")


if __name__ == "__main__":
    run_job(main)
