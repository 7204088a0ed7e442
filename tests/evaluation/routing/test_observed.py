"""What the recorder reads off, and that the network never notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from amir.dataset.manifest import read_manifest
from amir.dataset.slices import SlicePair, middle_slice
from amir.errors import InputError
from amir.evaluation.routing.expert_use import mean_use, task_information, use_of
from amir.evaluation.routing.observed import record_routing, route_slice
from amir.inference.expert_counts import level_name
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.models.registry import build_model

LEVELS = ["encoder 1", "encoder 2", "encoder 3"]


@pytest.fixture
def pair(tiny_dataset: Path) -> SlicePair:
    return middle_slice(tiny_dataset, read_manifest(tiny_dataset), "test", Modality.MRI)


@pytest.fixture
def restorer(save_checkpoint: Callable[..., Any], tmp_path: Path) -> Restorer:
    return Restorer.of(save_checkpoint(tmp_path / "1"))


@pytest.mark.parametrize("routing", ["published", "paper"])
def test_recording_changes_no_bit_of_the_output(routing: str, tiny_network: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = build_model("amir", **tiny_network, routing=routing).eval()
    image = torch.rand(2, 1, 24, 32)
    with torch.inference_mode():
        before = network(image)
        with record_routing(network) as recorder:
            during = network(image)
        after = network(image)
    assert torch.equal(before.image, during.image)
    assert torch.equal(before.image, after.image)
    assert before.auxiliary_loss == during.auxiliary_loss
    assert [record.gates.shape for record in recorder.spatial(1).values()] == [
        (24, 32, 4),
        (12, 16, 4),
        (6, 8, 4),
    ]


def test_no_hook_stays_behind_even_after_an_error(tiny_network: dict[str, Any]) -> None:
    network = build_model("amir", **tiny_network)
    with pytest.raises(RuntimeError), record_routing(network):
        raise RuntimeError
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_routing_is_named() -> None:
    with (
        pytest.raises(InputError, match="Identity has no routing"),
        record_routing(nn.Identity()),
    ):
        pass


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_every_pixel_is_seen_by_k_experts(top_k: int, tiny_network: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = build_model("amir", **tiny_network, top_k=top_k).eval()
    with torch.inference_mode(), record_routing(network) as recorder:
        network(torch.rand(1, 1, 32, 32))
    for record in recorder.spatial().values():
        assert (record.asked.sum(axis=2) == top_k).all()
        np.testing.assert_allclose(record.gates.sum(axis=2), 1, atol=1e-6)
        assert (record.gates[~record.asked] == 0).all()
        assert ((record.entropy >= 0) & (record.entropy <= 1)).all()


def test_the_paths_own_restoration_is_what_is_recorded(pair: SlicePair, restorer: Restorer) -> None:
    routing = route_slice(restorer, pair)
    plain = restorer.restore_slice(pair.degraded, pair.modality, scale=pair.scale)
    np.testing.assert_array_equal(routing.restored, plain)
    assert list(routing.spatial) == LEVELS
    assert list(routing.masks) == ["latent", "decoder 3", "decoder 2", "decoder 1"]
    assert routing.instruction is not None
    assert routing.instruction.shape == (256,)


def test_maps_are_cut_to_the_slice_without_its_padding(pair: SlicePair, restorer: Restorer) -> None:
    small = SlicePair(**{**vars(pair), "degraded": pair.degraded[:35, :42]})
    shapes = [record.experts.shape[:2] for record in route_slice(restorer, small).spatial.values()]
    assert shapes == [(35, 42), (18, 21), (9, 11)]


def test_use_sums_to_k_and_weights_to_one(pair: SlicePair, restorer: Restorer) -> None:
    rows = list(use_of(route_slice(restorer, pair)))
    assert [row["expert"] for row in rows] == [1, 2, 3, 4] * 3
    for level in LEVELS:
        own = [row for row in rows if row["level"] == level]
        assert sum(row["use"] for row in own) == pytest.approx(2)
        assert sum(row["weight"] for row in own) == pytest.approx(1)
        assert mean_use(rows, level)[Modality.MRI].sum() == pytest.approx(2)


def test_a_choice_tells_all_of_the_task_where_no_expert_is_shared_and_else_nothing() -> None:
    apart = {Modality.MRI: np.array([1.0, 0.0]), Modality.CT: np.array([0.0, 1.0])}
    alike = dict.fromkeys(Modality, np.array([1.0, 1.0, 0.0]))
    assert task_information(apart) == pytest.approx(1)
    assert task_information(alike) == pytest.approx(0)


@pytest.mark.parametrize(
    ("path", "name"),
    [("encoder_routing.0", "encoder 1"), ("latent_routing", "latent"), ("gate", "gate")],
)
def test_levels_have_names_people_use(path: str, name: str) -> None:
    assert level_name(path) == name
