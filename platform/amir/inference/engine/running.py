"""An engine that runs by the service's settings: its models loaded, tried, watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import torch

from amir.checkpoint import Checkpoint
from amir.config import ServeSettings
from amir.errors import InputError
from amir.inference.engine.local import LocalEngine
from amir.inference.engine.model_cache import ModelCache, Served
from amir.inference.engine.model_watch import ModelPlaces, ModelWatch
from amir.inference.engine.served_model import ServedModel, prove, serve_checkpoint
from amir.inference.engine.served_models import ServedModels
from amir.inference.engine.shadow import Comparison


class RunningEngine:
    """engine: answers from the end of `start` until `close`."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        device: str | torch.device = "cpu",
        on_batch: Callable[[int, float], None] = lambda slices, seconds: None,
        on_comparison: Callable[[Comparison], None] = lambda comparison: None,
    ) -> None:
        self.settings = settings
        self.device = device
        ours = settings.engine
        for name, challenger in (("canary", ours.canary), ("shadow", ours.shadow)):
            if challenger.share > 0 and challenger.alias not in settings.models:
                raise InputError(
                    "invalid_setting",
                    f"engine.{name}.alias is {challenger.alias!r}, models has "
                    f"{', '.join(settings.models)}; add it there",
                )
        served = ServedModels(
            default=settings.default_model,
            canary=ours.canary,
            grace_seconds=ours.swap.grace_seconds,
        )
        places = ModelPlaces(settings.models, settings.storage, settings.tracking)
        cache = ModelCache(ours.swap.cache or settings.storage / "serving")
        self.watch = ModelWatch(places, served, cache, self._prepare)
        self.engine = LocalEngine(
            served,
            ours,
            fetch=self.watch.pinned,
            on_batch=on_batch,
            on_comparison=on_comparison,
        )
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """InputError if the default alias has no model that works."""
        await self.watch.start()
        seconds = self.settings.engine.swap.poll_seconds
        self._watching = asyncio.create_task(self.watch.watch(seconds))

    def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self.engine.close()

    async def _prepare(self, found: Checkpoint, served: Served, alias: str) -> ServedModel:
        model = await asyncio.to_thread(
            serve_checkpoint,
            found,
            self.settings.engine,
            alias=alias,
            reference=served.reference,
            version=served.version,
            device=self.device,
        )
        return await prove(model, self.engine.batcher, self.settings.engine.warm_up)
