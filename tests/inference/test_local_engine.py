"""The engine in one process: the restoration path's answers, in batches, for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from amir.errors import InputError
from amir.inference.engine.local import LocalEngine
from amir.inference.engine.served_models import ServedModels
from amir.inference.engine.slices import OverloadedError, SliceAnswer
from amir.inference.network_runner import NetworkRunner
from amir.inference.normalising import to_network
from amir.inference.restorer import Restorer
from amir.inference.trust.features import slice_features
from amir.inference.trust.outliers import OutlierStatistics
from amir.inference.trust.uncertainty import restore_with_deviation
from amir.modality import Modality
from tests.served_networks import Brightened, ct_request, engine_of, served


async def restored_together(engine: LocalEngine, *requests) -> list[SliceAnswer]:
    try:
        return await asyncio.gather(*map(engine.restore, requests))
    finally:
        engine.close()


@pytest.mark.parametrize("shape", [(3, 40, 24), (1, 1, 1), (2, 17, 23)])
def test_slices_come_back_as_from_the_one_restoration_path(
    shape: tuple[int, ...], tiny_amir: Callable[[int], nn.Module]
) -> None:
    request = ct_request(*shape)
    (answer,) = asyncio.run(restored_together(engine_of(tiny_amir(0)), request))
    expected = Restorer(tiny_amir(0)).restore_slices(request.slices, Modality.CT)
    np.testing.assert_allclose(answer.restored, expected, atol=0.02)
    assert [sum(use) for use in answer.expert_use.values()] == pytest.approx([2.0] * 3)


def test_voxels_outside_the_range_pass_and_are_counted() -> None:
    slices = np.full((2, 16, 16), 100, np.float32)
    slices[0, 3, 4], slices[1, 0, 0] = 4000, -2000
    request = replace(ct_request(2, 16, 16), slices=slices)
    (answer,) = asyncio.run(restored_together(engine_of(Brightened(0.1)), request))
    assert answer.clipped == 2
    expected = np.where(slices == 100, 100 + 0.1 * 4095, slices)
    np.testing.assert_allclose(answer.restored, expected, rtol=1e-5)


def test_slices_of_one_padded_shape_share_a_batch_and_no_others_do() -> None:
    network = Brightened()
    network.may_go_on.clear()
    engine = engine_of(network)

    async def ask() -> list[SliceAnswer]:
        first = asyncio.create_task(engine.restore(ct_request(1, 64, 64)))
        await asyncio.to_thread(network.begun.wait)
        others = [ct_request(2, 17, 23), ct_request(1, 32, 24), ct_request(3, 20, 24)]
        waiting = [asyncio.create_task(engine.restore(one)) for one in others]
        while engine.batcher.waiting_slices < 6:
            await asyncio.sleep(0.01)
        network.may_go_on.set()
        return [await task for task in (first, *waiting)]

    answers = asyncio.run(ask())
    engine.close()
    assert sorted(network.batches) == [(1, 1, 32, 24), (1, 1, 64, 64), (5, 1, 24, 24)]
    assert [answer.restored.shape[1:] for answer in answers] == [
        (64, 64),
        (17, 23),
        (32, 24),
        (20, 24),
    ]
    assert [answer.batch for answer in answers] == [1, 5, 1, 5]


def test_a_forward_has_no_more_pixels_than_allowed() -> None:
    network = Brightened()
    engine = engine_of(network, batch={"pixels": 3 * 16 * 16})
    asyncio.run(restored_together(engine, ct_request(7, 16, 16)))
    assert [shape[0] for shape in network.batches] == [3, 3, 1]


def test_an_unknown_model_is_said(tiny_amir: Callable[[int], nn.Module]) -> None:
    engine = engine_of(tiny_amir(0))
    with pytest.raises(InputError, match="not served any more") as refusal:
        asyncio.run(restored_together(engine, ct_request(1, 16, 16, model="b" * 64)))
    assert refusal.value.code == "unknown_model"


def test_cancelled_requests_leave_the_queue() -> None:
    network = Brightened()
    network.may_go_on.clear()
    engine = engine_of(network)

    async def ask() -> None:
        first = asyncio.create_task(engine.restore(ct_request(1, 16, 16)))
        await asyncio.to_thread(network.begun.wait)
        second = asyncio.create_task(engine.restore(ct_request(5, 24, 24)))
        while engine.batcher.waiting_slices < 5:
            await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        assert engine.batcher.waiting_slices == 0
        network.may_go_on.set()
        await first

    asyncio.run(ask())
    engine.close()
    assert network.batches == [(1, 1, 16, 16)]


def test_a_request_that_would_wait_too_long_is_refused_at_once() -> None:
    network = Brightened()
    engine = engine_of(network, batch={"queue_seconds": 0.05})

    async def ask() -> None:
        network.may_go_on.clear()
        asyncio.get_running_loop().call_later(0.5, network.may_go_on.set)
        await engine.restore(ct_request(1, 16, 16))  # so long is the next one expected to take
        network.may_go_on.clear()
        network.begun.clear()
        under_way = asyncio.create_task(engine.restore(ct_request(1, 16, 16)))
        await asyncio.to_thread(network.begun.wait)
        with pytest.raises(OverloadedError, match="waiting") as refusal:
            await engine.restore(ct_request(1, 16, 16))
        assert refusal.value.code == "overloaded"
        assert refusal.value.retry_after_seconds >= 1
        network.may_go_on.set()
        await under_way

    asyncio.run(ask())
    engine.close()


def test_a_single_slice_does_not_wait_for_the_rest_of_a_long_series() -> None:
    network = Brightened()
    network.may_go_on.clear()
    engine = engine_of(network, batch={"pixels": 16 * 16, "queue_seconds": 1e-9})

    async def ask() -> int:
        parts = [
            replace(ct_request(10, 16, 16), series="long", continues=number > 0)
            for number in range(2)
        ]
        series = [asyncio.create_task(engine.restore(part)) for part in parts]
        await asyncio.to_thread(network.begun.wait)
        while engine.batcher.waiting_slices < 19:
            await asyncio.sleep(0.01)
        single = asyncio.create_task(engine.restore(ct_request(1, 16, 16)))
        while engine.batcher.waiting_slices < 20:
            await asyncio.sleep(0.01)
        network.may_go_on.set()
        await single
        still_waiting = engine.batcher.waiting_slices
        await asyncio.gather(*series)
        return still_waiting

    assert asyncio.run(ask()) >= 15
    engine.close()


def test_the_spread_of_mirrored_passes_leaves_the_answer_as_it_was(
    tiny_amir: Callable[[int], nn.Module],
) -> None:
    plain, unsure = ct_request(2, 17, 23), replace(ct_request(2, 17, 23), uncertainty=3)
    answers = [
        asyncio.run(restored_together(engine_of(tiny_amir(0)), one))[0] for one in (plain, unsure)
    ]
    np.testing.assert_allclose(answers[0].restored, answers[1].restored, atol=0.02)
    assert answers[0].deviation is None
    restorer = Restorer(tiny_amir(0))
    _, expected = restore_with_deviation(
        lambda slices: restorer.restore_slices(slices, Modality.CT), plain.slices, passes=3
    )
    np.testing.assert_allclose(answers[1].deviation, expected, atol=0.02)


def test_one_failing_forward_fails_its_own_requests_only() -> None:
    network = Brightened()
    engine = engine_of(network)

    async def ask() -> None:
        network.amount = "no number"  # type: ignore[assignment]
        with pytest.raises(TypeError):
            await engine.restore(ct_request(1, 16, 16))
        network.amount = 0.0
        await engine.restore(ct_request(1, 16, 16))

    asyncio.run(ask())
    engine.close()


def test_nan_from_a_network_is_never_handed_out() -> None:
    engine = engine_of(Brightened(float("nan")))
    with pytest.raises(RuntimeError, match="NaN"):
        asyncio.run(restored_together(engine, ct_request(1, 16, 16)))


def test_models_work_side_by_side() -> None:
    models = ServedModels()
    models.assign("champion", served(Brightened(0.1), "a" * 64))
    models.assign("challenger", served(Brightened(0.2), "b" * 64))
    grey = replace(ct_request(1, 16, 16), slices=np.zeros((1, 16, 16), np.float32))
    answers = asyncio.run(
        restored_together(LocalEngine(models), grey, replace(grey, model="b" * 64))
    )
    values = [float(answer.restored.mean()) for answer in answers]
    assert values == pytest.approx([409.5, 819.0], rel=1e-4)


def test_slices_unlike_the_training_data_score_higher(
    tiny_amir: Callable[[int], nn.Module],
) -> None:
    like = [features_of(tiny_amir(0), ct_request(12, 24, 24, seed=seed).slices) for seed in (1, 2)]
    statistics = OutlierStatistics.fit(
        {Modality.CT: like[0]}, {Modality.CT: like[1]}, {}, instruction_width=256
    )
    models = ServedModels()
    model = replace(served(tiny_amir(0), "a" * 64), statistics=statistics)
    models.assign("champion", model)
    usual = ct_request(2, 24, 24, seed=3)
    flat = replace(usual, slices=np.full_like(usual.slices, 500))
    answers = asyncio.run(restored_together(LocalEngine(models), usual, flat))
    scores = [answer.outlier_score for answer in answers]
    assert scores[0].shape == (2,)
    assert scores[0].max() < 3 < scores[1].min()


def features_of(network: nn.Module, slices: np.ndarray) -> np.ndarray:
    given = to_network(slices, Modality.CT, scale=1.0)
    passed = NetworkRunner(network).run(given)
    return slice_features(
        given, passed.images, instruction=passed.instruction, expert_use=passed.expert_use
    )
