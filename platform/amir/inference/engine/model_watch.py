"""Keeps an engine's models as its references say: loads, tries, and only then assigns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from amir.checkpoint import Checkpoint
from amir.config import TrackingSettings
from amir.errors import InputError
from amir.inference.engine.model_cache import ModelCache, Served
from amir.inference.engine.served_model import ServedModel
from amir.inference.engine.served_models import ServedModels
from amir.model_registry.versions import find_version
from amir.references import find_model

Prepare = Callable[[Checkpoint, Served, str], Awaitable[ServedModel]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelPlaces:
    """Where models come from. references: by alias."""

    references: Mapping[str, str]
    storage: Path
    tracking: TrackingSettings


class ModelWatch:
    """One per engine.

    prepare: a checkpoint to a model that has proved to work, or InputError; what is wrong with a
    model is found before anybody sees it.
    """

    def __init__(
        self, places: ModelPlaces, served: ServedModels, cache: ModelCache, prepare: Prepare
    ) -> None:
        self.places, self.served, self.cache = places, served, cache
        self._prepare = prepare
        self._refused: dict[str, Served] = {}
        self._loading = asyncio.Lock()

    async def start(self) -> None:
        """Load every alias, from the cache where its reference does not answer or is no good.

        The reason is raised if the default alias has no model then; other aliases may lack one.
        """
        for alias in sorted(self.places.references, key=lambda alias: alias != self.served.default):
            try:
                await self._update(alias)
            except InputError as error:
                await self._fall_back(alias, error)

    async def refresh(self) -> None:
        """Follow the aliases that have been moved; an alias that cannot keeps its model."""
        for alias, reference in self.places.references.items():
            if self.served.has(alias) and not reference.startswith("models:/"):
                continue
            try:
                await self._update(alias)
            except InputError as error:
                log.warning("%s keeps its model: %s", alias, error)
                self.served.complain(alias, str(error))

    async def watch(self, seconds: float) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.refresh()

    async def pinned(self, digest: str) -> ServedModel | None:
        """The model of a series that another replica began; None if nobody knows it any more.

        One that another replica has followed an alias to lies in the cache.
        """
        async with self._loading:
            if (known := self.served.pinned(digest)) is not None:
                return known
            found = await asyncio.to_thread(self.cache.find, digest)
            if found is None:
                return None
            model = await self._prepare(found, Served(digest, "", ""), "")
            self.served.keep(model)
            return model

    async def _update(self, alias: str) -> None:
        """Let the alias mean what its reference says now."""
        wanted = await asyncio.to_thread(self._look_up, alias)
        now = self.served.at(alias)
        if now is not None and _is(now, wanted):
            self.served.settle(alias)
            return
        if wanted == self._refused.get(alias):
            return
        async with self._loading:
            try:
                model = await self._load(alias, wanted)
            except InputError as error:
                if error.code != "registry_unavailable":
                    self._refused[alias] = wanted
                raise
        self.served.assign(alias, model)
        self._refused.pop(alias, None)

    def _look_up(self, alias: str) -> Served:
        """What the reference of an alias means now; without a digest, if that is not registered."""
        reference = self.places.references[alias]
        if not reference.startswith("models:/"):
            return Served("", "", reference)
        registry, version = find_version(reference, self.places.tracking, self.places.storage)
        return Served(version.digest, str(version.number), registry.reference(version))

    async def _load(self, alias: str, wanted: Served) -> ServedModel:
        kept = self.served.pinned(wanted.digest)
        if kept is not None:
            await asyncio.to_thread(self.cache.note, alias, wanted)
            return _renamed(kept, alias, wanted)
        found = await asyncio.to_thread(self._find, wanted)
        model = await self._prepare(found, wanted, alias)
        await asyncio.to_thread(self.cache.add, found)
        note = Served(found.digest, wanted.version, wanted.reference)
        await asyncio.to_thread(self.cache.note, alias, note)
        return model

    def _find(self, wanted: Served) -> Checkpoint:
        cached = self.cache.find(wanted.digest) if wanted.digest else None
        return cached or find_model(
            wanted.reference, storage=self.places.storage, tracking_uri=self.places.tracking.uri
        )

    async def _fall_back(self, alias: str, reason: InputError) -> None:
        """The model that the alias meant last, when its reference is of no use."""
        noted = await asyncio.to_thread(self.cache.noted, alias)
        found = None if noted is None else await asyncio.to_thread(self.cache.find, noted.digest)
        if noted is not None and found is not None:
            log.warning("%s starts with the model it had last: %s", alias, reason)
            self.served.assign(alias, await self._prepare(found, noted, alias))
        elif alias == self.served.default:
            raise reason
        self.served.complain(alias, str(reason))


def _renamed(model: ServedModel, alias: str, served: Served) -> ServedModel:
    """The same network under another name."""
    described = replace(
        model.description, alias=alias, version=served.version, reference=served.reference
    )
    return replace(model, description=described)


def _is(model: ServedModel, wanted: Served) -> bool:
    """Versions registered by hand have no digest in the registry; their number never changes."""
    description = model.description
    return wanted.reference == description.reference or wanted.digest == description.digest
