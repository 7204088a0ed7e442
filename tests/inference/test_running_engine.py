"""Which model answers: aliases that move, models that are no good, a registry that is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import ServeSettings, TrackingSettings
from amir.errors import InputError
from amir.inference.engine.running import RunningEngine
from amir.inference.engine.shadow import Comparison
from amir.model_registry.versions import CHAMPION, DIGEST, ModelRegistry, Version
from amir.tracking import open_run
from tests.served_networks import ct_request

CHALLENGER = "challenger"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    """One for all tests: MLflow takes seconds to make its tables."""
    storage = tmp_path_factory.mktemp("registry")
    open_run(TrackingSettings(), storage, name="makes the tables").finish()
    return ModelRegistry.of(TrackingSettings(), storage)


@pytest.fixture
def register(
    registry: ModelRegistry, save_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> Callable[..., Version]:
    """A version of a tiny network with weights of a seed, or of weights that are no numbers."""

    def make(seed: int, *, alias: str = CHAMPION, bad: bool = False) -> Version:
        saved = save_checkpoint(tmp_path / f"{seed}", seed=seed, trains=False)
        if bad:
            weights = load_file(saved.folder / "weights.safetensors")
            spoilt = {name: torch.full_like(w, float("nan")) for name, w in weights.items()}
            saved = checkpoint.save(
                saved.folder, weights=spoilt, settings=saved.settings, scores={}
            )
        run = registry.client.create_run("0").info.run_id
        version = registry.register(saved.folder, run_id=run, tags={DIGEST: saved.digest})
        registry.point(alias, version)
        return version

    return make


@pytest.fixture
def settings(registry: ModelRegistry, tmp_path: Path) -> Callable[..., ServeSettings]:
    def make(**chosen: Any) -> ServeSettings:
        engine = {"warm_up": [], "swap": {"poll_seconds": 3600}} | chosen.pop("engine", {})
        tree = {"storage": tmp_path / "storage", "tracking": {"uri": registry.address}}
        return ServeSettings.model_validate(tree | {"engine": engine} | chosen)

    return make


def run(running: RunningEngine, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def started() -> Any:
        await running.start()
        try:
            return await work()
        finally:
            running.close()

    return asyncio.run(started())


def test_an_alias_that_moves_is_followed_and_a_series_keeps_its_model(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    first = register(1)
    running = RunningEngine(settings())
    engine = running.engine

    async def work() -> None:
        before = await engine.choose("")
        second = register(2)
        await running.watch.refresh()
        after = await engine.choose("champion")
        assert (before.digest, before.version) == (first.digest, str(first.number))
        assert (after.digest, after.version) == (second.digest, str(second.number))
        old, new = [
            (await engine.restore(ct_request(1, 16, 16, model=d))).restored
            for d in (first.digest, second.digest)
        ]
        assert not np.array_equal(old, new)
        assert [m.alias for m in await engine.models()] == ["champion", ""]

    run(running, work)


def test_going_back_needs_no_loading(
    register: Callable[..., Version],
    settings: Callable[..., ServeSettings],
    registry: ModelRegistry,
) -> None:
    first = register(1)
    running = RunningEngine(settings())

    async def work() -> None:
        network = running.engine.served.choose("", key="").runner
        register(2)
        await running.watch.refresh()
        registry.point(CHAMPION, first)
        await running.watch.refresh()
        model = running.engine.served.choose("", key="")
        assert model.runner is network
        assert model.description.version == str(first.number)

    run(running, work)


def test_a_bad_version_is_never_served_and_its_reason_is_told(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    good = register(1)
    running = RunningEngine(settings())

    async def work() -> None:
        bad = register(2, bad=True)
        await running.watch.refresh()
        (listed,) = await running.engine.models()
        assert listed.digest == good.digest
        assert "NaN" in listed.problem
        with pytest.raises(InputError, match="no model"):
            await running.engine.choose(bad.digest)

    run(running, work)
    # Nor by a replica that starts while the alias points to it.
    later = RunningEngine(settings())
    (listed,) = run(later, later.engine.models)
    assert listed.digest == good.digest
    assert "NaN" in listed.problem


def test_without_any_good_model_the_engine_does_not_start(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    register(3, bad=True)
    running = RunningEngine(settings())
    with pytest.raises(InputError, match="NaN"):
        run(running, running.engine.models)


def test_while_the_registry_is_down_the_model_stays_for_new_replicas_too(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    version = register(1)
    running = RunningEngine(settings())
    run(running, running.engine.models)
    down = {"uri": "http://127.0.0.1:9"}
    later = RunningEngine(settings(tracking=down))

    async def work() -> None:
        await later.watch.refresh()
        (listed,) = await later.engine.models()
        assert listed.digest == version.digest
        assert "127.0.0.1:9" in listed.problem
        await later.engine.restore(ct_request(1, 16, 16, model=version.digest))

    run(later, work)


def test_a_series_that_another_replica_began_finds_its_model(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    register(1)
    behind, ahead = RunningEngine(settings()), RunningEngine(settings())

    async def work() -> None:
        second = register(2)
        await ahead.start()
        assert (await ahead.engine.choose("")).digest == second.digest
        request = ct_request(1, 16, 16, model=second.digest)
        answers = [await each.engine.restore(request) for each in (ahead, behind)]
        np.testing.assert_array_equal(answers[0].restored, answers[1].restored)
        ahead.close()

    run(behind, work)


def test_the_canary_gets_its_share_and_a_key_always_the_same_model(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    champion, challenger = register(1), register(2, alias=CHALLENGER)
    models = {name: f"models:/amir@{name}" for name in (CHAMPION, CHALLENGER)}
    running = RunningEngine(
        settings(models=models, engine={"canary": {"share": 0.25}, "warm_up": []})
    )

    async def work() -> None:
        engine = running.engine
        drawn = [(await engine.choose("", key=str(key))).digest for key in range(400)]
        assert drawn == [(await engine.choose("", key=str(key))).digest for key in range(400)]
        assert 70 <= drawn.count(challenger.digest) <= 130
        assert drawn.count(champion.digest) == 400 - drawn.count(challenger.digest)
        assert (await engine.choose(CHALLENGER, key="1")).digest == challenger.digest

    run(running, work)


def test_the_challenger_in_the_shadow_is_compared_and_never_shown(
    register: Callable[..., Version], settings: Callable[..., ServeSettings]
) -> None:
    champion, challenger = register(1), register(2, alias=CHALLENGER)
    models = {name: f"models:/amir@{name}" for name in (CHAMPION, CHALLENGER)}
    compared: list[Comparison] = []
    running = RunningEngine(
        settings(models=models, engine={"shadow": {"share": 1}, "warm_up": []}),
        on_comparison=compared.append,
    )

    async def work() -> None:
        request = ct_request(2, 16, 16, model=champion.digest)
        answer = await running.engine.restore(request)
        while not compared:
            await asyncio.sleep(0.01)
        other = ct_request(2, 16, 16, model=challenger.digest)
        challenged = (await running.engine.restore(other)).restored
        difference = float(np.abs(answer.restored - challenged).max())
        (comparison,) = compared
        assert comparison.largest_difference == pytest.approx(difference, rel=1e-3)
        assert 0 < comparison.psnr < 100

    run(running, work)


def test_a_canary_that_no_alias_names_is_refused(settings: Callable[..., ServeSettings]) -> None:
    with pytest.raises(InputError, match=r"engine\.canary\.alias"):
        RunningEngine(settings(engine={"canary": {"share": 0.1}}))
