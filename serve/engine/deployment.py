"""The engine as a Ray Serve deployment: one `RunningEngine` in each replica."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray import serve

from amir import allocator
from amir.config import ReplicaSettings, ServeSettings
from amir.inference.engine.running import RunningEngine
from amir.inference.engine.slices import ModelDescription, SliceAnswer, SliceRequest
from serve.engine.metrics import EngineMetrics
from serve.metrics import Metrics
from serve.proxy import WATCHED
from serve.shared_metrics import SharedMetrics, metrics_folder

NAME = "engine"


class EngineReplica:
    """settings: of the service, as its JSON."""

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]
        import torch

        self._settings = ServeSettings.model_validate(settings)
        replica = self._settings.engine.replica
        torch.set_num_threads(max(1, int(replica.cpus)))
        counters = Metrics()
        metrics = EngineMetrics(counters)
        self._running = RunningEngine(
            self._settings,
            device="cuda" if replica.gpus else "cpu",  # Ray shows each replica its own GPU alone
            on_batch=metrics.batch,
            on_comparison=metrics.comparison,
        )
        await self._running.start()
        shared = SharedMetrics(metrics_folder(self._settings), counters)
        batcher = self._running.engine.batcher
        self._writing = asyncio.create_task(
            shared.keep_up(lambda: counters.show("amir_queue_slices", batcher.waiting_slices))
        )

    async def choose(self, reference: str, key: str) -> ModelDescription:
        return await self._running.engine.choose(reference, key=key)

    async def models(self) -> Sequence[ModelDescription]:
        return await self._running.engine.models()

    async def restore(self, request: SliceRequest) -> SliceAnswer:
        return await self._running.engine.restore(request)

    def check_health(self) -> None:
        """Serve replaces a replica whose forward does not end."""
        seconds, limit = (
            self._running.engine.batcher.stuck_seconds,
            self._settings.engine.replica.hang_seconds,
        )
        if seconds > limit:
            raise RuntimeError(f"a forward has been under way for {seconds:.0f} s, over {limit:g}")


def thread_environment(replica: ReplicaSettings) -> dict[str, str]:
    """As many threads as CPUs, none of which spins while it waits; memory is kept for the next.

    A thread that spins keeps those it waits for off the cores wherever anything else runs there:
    beside two processes of nice 10, forwards of two spinning threads took thirteen times as long.
    """
    threads = str(max(1, int(replica.cpus)))
    return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", **allocator.ENVIRONMENT}


def engine_application(settings: ServeSettings) -> serve.Application:
    """The deployment, to be bound to the ingress; its handle goes into a `ServeEngine`."""
    replica = settings.engine.replica
    number: dict[str, Any] = {"num_replicas": replica.smallest}
    if replica.largest > replica.smallest:
        number = {
            "autoscaling_config": {
                "min_replicas": replica.smallest,
                "max_replicas": replica.largest,
                "target_ongoing_requests": replica.target_requests,
                "upscale_delay_s": replica.upscale_seconds,
                "downscale_delay_s": replica.downscale_seconds,
            }
        }
    deployment = serve.deployment(
        EngineReplica,
        name=NAME,
        max_ongoing_requests=replica.ongoing_requests,
        ray_actor_options={
            "num_cpus": replica.cpus,
            "num_gpus": replica.gpus,
            "runtime_env": {"env_vars": thread_environment(replica)},
        },
        **WATCHED,
        **number,
    )
    return deployment.bind(settings.model_dump(mode="json"))
