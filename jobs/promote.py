"""A better model to champion: python jobs/promote.py --run RUN --data DIR --alias champion."""

from collections.abc import Sequence

from amir import cluster
from amir.command_line import settings_from
from amir.config import PromoteSettings
from amir.job import run_job, say
from amir.model_registry.versions import ModelRegistry
from amir.promotion.promote import archive, promote, rollback


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, PromoteSettings, shortcuts={"run": "model"})
    registry = ModelRegistry.of(settings.tracking, settings.storage)
    if settings.rollback:
        left, now = rollback(registry, settings.alias)
        say(f"{settings.alias}: back from version {left.number} to {now.number}, {now.digest[:12]}")
    elif settings.archive is not None:
        say(f"archived version {archive(registry, settings.archive).number}")
    else:
        cluster.connect()
        done = promote(settings, say=say)
        if done.version is not None:
            say(
                f"{settings.alias} is now version {done.version.number}, {done.version.digest[:12]}"
            )


if __name__ == "__main__":
    run_job(main)
