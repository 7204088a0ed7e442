"""Which models an engine serves under which aliases, and those it keeps for work under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from amir.config import ChallengerSettings
from amir.errors import InputError
from amir.inference.engine.drawing import is_drawn
from amir.inference.engine.served_model import ServedModel
from amir.inference.engine.slices import ModelDescription

SHORTEST_DIGEST = 12


class ServedModels:
    """Reading and assigning are single steps: nobody ever sees half of a swap.

    default: the alias of requests that name none. grace_seconds: how long a replaced model stays.
    """

    def __init__(
        self,
        *,
        default: str = "champion",
        canary: ChallengerSettings | None = None,
        grace_seconds: float = 600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.default = default
        self.canary = canary or ChallengerSettings()
        self.grace_seconds = grace_seconds
        self._clock = clock
        self._by_alias: dict[str, ServedModel] = {}
        self._kept: dict[str, tuple[ServedModel, float]] = {}  # by digest; until when
        self._problems: dict[str, str] = {}

    def assign(self, alias: str, model: ServedModel) -> None:
        """From now on the alias means this model; the one it meant is kept for the grace time."""
        before = self._by_alias.get(alias)
        self._by_alias = self._by_alias | {alias: model}
        self.settle(alias)
        if before is not None:
            self.keep(before)
        self._forget()

    def keep(self, model: ServedModel) -> None:
        """For series that began with it, for the grace time from now."""
        self._kept[model.description.digest] = model, self._clock() + self.grace_seconds

    def complain(self, alias: str, problem: str) -> None:
        """Why the newest version of an alias is not served."""
        self._problems[alias] = problem

    def settle(self, alias: str) -> None:
        """The alias means what it should: no complaint."""
        self._problems.pop(alias, None)

    def has(self, alias: str) -> bool:
        return alias in self._by_alias

    def at(self, alias: str) -> ServedModel | None:
        return self._by_alias.get(alias)

    def choose(self, reference: str, *, key: str) -> ServedModel:
        """By alias ("" is the default), or by at least 12 hex digits of a digest."""
        alias = reference or self.default
        drawn = alias == self.default and is_drawn(key, self.canary.share, purpose="canary")
        if drawn and self.has(self.canary.alias):
            alias = self.canary.alias
        if alias in self._by_alias:
            return self._by_alias[alias]
        if len(alias) >= SHORTEST_DIGEST:
            for model in self._all():
                if model.description.digest.startswith(alias):
                    return model
        raise InputError(
            "unknown_model",
            f"this service has no model {alias!r}; it has "
            + (", ".join(sorted(self._by_alias)) or "none yet, try again later"),
        )

    def pinned(self, digest: str) -> ServedModel | None:
        """The model of a series under way, for which it is kept anew."""
        found = next((m for m in self._all() if m.description.digest == digest), None)
        if digest in self._kept and found is not None:
            self.keep(found)
        return found

    def descriptions(self) -> list[ModelDescription]:
        """Of every alias, then of those that are kept."""
        self._forget()
        served = [
            replace(model.description, alias=alias, problem=self._problems.get(alias, ""))
            for alias, model in sorted(self._by_alias.items())
        ]
        digests = {description.digest for description in served}
        kept = [model.description for model, _ in self._kept.values()]
        return served + [replace(d, alias="") for d in kept if d.digest not in digests]

    def _all(self) -> list[ServedModel]:
        return [*self._by_alias.values(), *(model for model, _ in self._kept.values())]

    def _forget(self) -> None:
        now = self._clock()
        self._kept = {d: (m, until) for d, (m, until) in self._kept.items() if until > now}
