"""The engine in one process: restores slices in batches, several models side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from amir.config import EngineSettings
from amir.errors import InputError
from amir.inference.engine.batching import Batcher
from amir.inference.engine.served_model import ServedModel
from amir.inference.engine.served_models import ServedModels
from amir.inference.engine.shadow import PENDING, Comparison, compare, is_shadowed
from amir.inference.engine.slice_answer import network_images, slice_answer
from amir.inference.engine.slices import ModelDescription, SliceAnswer, SliceRequest


class LocalEngine:
    """An `Engine` around the models it is given; one device, one forward at a time.

    fetch: asked for a model that a series is pinned to and that is not here. on_batch: called with
    the size and the seconds of each batch. on_comparison: called with what the shadow made.
    """

    def __init__(
        self,
        models: ServedModels,
        settings: EngineSettings | None = None,
        *,
        fetch: Callable[[str], Awaitable[ServedModel | None]] | None = None,
        on_batch: Callable[[int, float], None] = lambda slices, seconds: None,
        on_comparison: Callable[[Comparison], None] = lambda comparison: None,
    ) -> None:
        self.served = models
        self.settings = settings or EngineSettings()
        self.batcher = Batcher(self.settings.batch, on_batch=on_batch)
        self.fetch = fetch
        self._on_comparison = on_comparison
        self._shadows: set[asyncio.Task[None]] = set()

    async def choose(self, reference: str, *, key: str = "") -> ModelDescription:
        return self.served.choose(reference, key=key).description

    async def models(self) -> Sequence[ModelDescription]:
        return self.served.descriptions()

    async def restore(self, request: SliceRequest) -> SliceAnswer:
        model = await self._pinned(request.model)
        if not len(request.slices):
            raise InputError("empty", "there is no slice to restore; send at least one")
        answer = await self._restore(model, request)
        self._cast_shadow(request, answer)
        return answer

    def close(self) -> None:
        """Stop; what waits is cancelled."""
        for task in self._shadows:
            task.cancel()
        self.batcher.close()

    async def _pinned(self, digest: str) -> ServedModel:
        model = self.served.pinned(digest)
        if model is None and self.fetch is not None:
            model = await self.fetch(digest)
        if model is None:
            raise InputError(
                "unknown_model",
                f"model {digest[:12]} is not served any more; send the request again",
            )
        return model

    async def _restore(
        self, model: ServedModel, request: SliceRequest, *, background: bool = False
    ) -> SliceAnswer:
        images = await asyncio.to_thread(network_images, request)
        if not (background or request.continues):
            self.batcher.check_load(sum(image.size for image in images))
        passed = await self.batcher.run(
            model.runner, images, series=request.series or None, background=background
        )
        return await asyncio.to_thread(slice_answer, request, images, passed, model.statistics)

    def _cast_shadow(self, request: SliceRequest, answer: SliceAnswer) -> None:
        """Let the challenger restore the same when nothing else waits; never the other way."""
        shadow = self.settings.shadow
        challenger = self.served.at(shadow.alias)
        if challenger is None or challenger.description.digest == request.model:
            return
        if len(self._shadows) >= PENDING or not is_shadowed(request, shadow.share):
            return
        task = asyncio.create_task(self._compare(challenger, request, answer))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _compare(
        self, challenger: ServedModel, request: SliceRequest, answer: SliceAnswer
    ) -> None:
        shadow = await self._restore(challenger, request, background=True)
        self._on_comparison(
            compare(request, answer, challenger.description.digest, shadow.restored)
        )
