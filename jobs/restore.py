"""A degraded scan to a restored one: python jobs/restore.py --model RUN --input FILE --out FILE."""

from collections.abc import Sequence

from amir.command_line import settings_from
from amir.config import RestoreSettings
from amir.inference.files import restore_file
from amir.job import run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, RestoreSettings)
    restoration = restore_file(settings)
    say(f"{settings.input} -> {settings.out} (research use only)")
    say(
        f"model {restoration.model_digest[:12]}; of {restoration.scan.voxels.size} voxels "
        f"{restoration.clipped} outside the range of training were handed through unchanged, "
        f"{restoration.saturated} did not fit the file's numbers and were saturated"
    )


if __name__ == "__main__":
    run_job(main)
