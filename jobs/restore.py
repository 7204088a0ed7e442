"""A degraded scan to a restored one: python jobs/restore.py --model RUN --input FILE --out FILE."""

from collections.abc import Sequence

from amir.allocator import keep_freed_memory
from amir.command_line import settings_from
from amir.config import RestoreSettings
from amir.inference.files import restore_file
from amir.job import run_job, say


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, RestoreSettings)
    keep_freed_memory()
    restored = restore_file(settings)
    done = restored.restoration
    say(f"{settings.input} -> {settings.out} (research use only)")
    say(
        f"model {done.model_digest[:12]}; of {done.scan.voxels.size} voxels {done.clipped} were "
        f"outside the range of training, {restored.saturated} did not fit the file's numbers and "
        "were saturated"
    )
    for flag in restored.flags:
        say(f"beware: {flag.message}")
    if restored.uncertainty is not None:
        spread = restored.uncertainty
        say(
            f"mirrored passes differ by {spread.median:.3g} {spread.unit} in half of the voxels, "
            f"by {spread.percentile_95:.3g} in one of twenty (standard deviation)"
        )


if __name__ == "__main__":
    run_job(main)
