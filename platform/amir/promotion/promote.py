"""Promotion: judged against what the alias points to now, registered with its verdict, and then
one step that others see, the alias.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import PromoteSettings
from amir.errors import GateError, InputError
from amir.evaluation.scores import Each, on_ray
from amir.model_registry.lock import locked
from amir.model_registry.versions import (
    ARCHIVED,
    DIGEST,
    REPLACES,
    VERDICT,
    ModelRegistry,
    Version,
)
from amir.promotion.examination import Examination, examine
from amir.references import find_model
from amir.tracking import open_run

MOST_RIVALS = 20  # champions that may change under one promotion before it gives up
Say = Callable[[str], None]


@dataclass(frozen=True)
class Promotion:
    """What came of it. version: None after a dry run, or if the alias pointed there already."""

    examination: Examination | None
    version: Version | None
    replaced: Version | None


def promote(
    settings: PromoteSettings, *, each: Each = on_ray, say: Say = lambda text: None
) -> Promotion:
    """Judge a candidate, register it with the verdict, and point the alias to it.

    GateError if the gate says no: the version is registered all the same, the alias untouched. If
    the alias is moved by others meanwhile, the candidate is judged anew against the new one.
    """
    registry = ModelRegistry.of(settings.tracking, settings.storage)
    candidate = find_model(
        str(settings.model), storage=settings.storage, tracking_uri=settings.tracking.uri
    )
    version = None
    for _ in range(MOST_RIVALS):
        rival = registry.at(settings.alias)
        if rival is not None and rival.digest == candidate.digest:
            say(f"{settings.alias}, version {rival.number}, is this model already")
            return Promotion(None, None, rival)
        against = None if rival is None else registry.reference(rival)
        found = examine(candidate, against, settings, each=each)
        say(_told(found, rival, settings))
        if settings.dry_run:
            _insist(found, settings)
            return Promotion(found, None, rival)
        version = _record(registry, version, candidate, found, settings)
        _insist(found, settings)
        if _move(registry, settings.alias, version, judged_against=rival):
            return Promotion(found, version, rival)
        say(f"{settings.alias} was moved meanwhile: judging anew against the new one")
    raise InputError(
        "locked", f"{settings.alias} changed {MOST_RIVALS} times under this promotion; try again"
    )


def rollback(registry: ModelRegistry, alias: str) -> tuple[Version, Version]:
    """Point the alias back to the version it pointed to before: (from, to).

    InputError if there is none, or if its files are not sound any more.
    """
    with locked(registry) as ticket:
        current = registry.at(alias)
        if current is None or current.replaces is None:
            raise InputError(
                "unknown_model", f"{alias} of {registry.model} has nothing to go back to"
            )
        before = registry.version(current.replaces)
        _check_in_use(before)
        find_model(registry.reference(before), storage=Path(), tracking_uri=registry.address)
        ticket.check_holds()
        registry.point(alias, before)
    return current, before


def archive(registry: ModelRegistry, number: int) -> Version:
    """Take a version out of use. InputError while an alias points to it."""
    with locked(registry):
        version = registry.version(number)
        if version.aliases:
            raise InputError(
                "invalid_setting",
                f"version {number} is {' and '.join(version.aliases)}; promote another one, or "
                "roll back, before archiving it",
            )
        registry.tag(version, {ARCHIVED: "true"})
    return version


def _told(found: Examination, rival: Version | None, settings: PromoteSettings) -> str:
    against = "the degraded input: there is none yet"
    if rival is not None:
        against = f"version {rival.number}, model {rival.digest[:12]}"
    return (
        f"{found.table}\nmodel {found.candidate.digest[:12]} against {settings.alias} ({against})\n"
        f"{found.verdict.as_markdown()}"
    )


def _insist(found: Examination, settings: PromoteSettings) -> None:
    if not found.verdict.accepted:
        raise GateError(
            f"model {found.candidate.digest[:12]} does not become {settings.alias}: "
            + "; ".join(found.verdict.objections)
        )


def _record(
    registry: ModelRegistry,
    version: Version | None,
    candidate: Checkpoint,
    found: Examination,
    settings: PromoteSettings,
) -> Version:
    """The candidate as a version with its verdict; registered once, the verdict kept up to date."""
    tags = {
        DIGEST: candidate.digest,
        VERDICT: "accepted" if found.verdict.accepted else "refused",
        "amir.evaluation": found.manifest.dataset_digest,
        "amir.few_patients": str(settings.gate.accept_few_patients).lower(),
    }
    with tempfile.TemporaryDirectory(prefix="amir-") as temporary:
        folder = Path(temporary)
        found.write(folder)
        checkpoint.copy_model(candidate, folder)  # with the digests of card and verdict, too
        if version is not None:
            registry.add_files(version, folder)
            registry.tag(version, tags)
            return version
        return registry.register(folder, run_id=_run(registry, candidate, settings), tags=tags)


def _run(registry: ModelRegistry, candidate: Checkpoint, settings: PromoteSettings) -> str:
    """The MLflow run that holds a version's files: the training's own if this MLflow knows it."""
    noted = candidate.folder.parent.parent / "mlflow_run_id"
    if noted.is_file() and registry.has_run(noted.read_text().strip()):
        return noted.read_text().strip()
    run = open_run(settings.tracking, settings.storage, name=f"promote {candidate.digest[:12]}")
    run.tags({DIGEST: candidate.digest})
    run.finish()
    return run.id


def _move(
    registry: ModelRegistry, alias: str, version: Version, *, judged_against: Version | None
) -> bool:
    """Whether the alias now points to the version; not if it is no longer where it was judged."""
    with locked(registry) as ticket:
        _check_in_use(registry.version(version.number))
        now = registry.at(alias)
        if (now and now.number) != (judged_against and judged_against.number):
            return False
        registry.tag(version, {REPLACES: str(now.number) if now else ""})
        ticket.check_holds()
        registry.point(alias, version)
    return True


def _check_in_use(version: Version) -> None:
    if version.tags.get(ARCHIVED) == "true":
        raise InputError(
            "unknown_model", f"version {version.number} is archived and cannot be pointed to"
        )
