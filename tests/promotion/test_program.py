"""The exported program answers as the network does, whatever the size of the slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from amir.models.registry import build_model
from amir.promotion.program import write_program


@pytest.mark.parametrize("routing", ["published", pytest.param("paper", marks=pytest.mark.slow)])
def test_a_program_restores_any_size_like_its_network(
    routing: str, tiny_network: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build_model("amir", **tiny_network, routing=routing).eval()
    deviation = write_program(network, tmp_path / "network.pt2")
    assert deviation < 5e-6
    program = torch.export.load(tmp_path / "network.pt2").module()
    x = torch.rand(1, 1, 24, 200)
    with torch.inference_mode():
        torch.testing.assert_close(program(x), network(x).image, rtol=0, atol=5e-6)
