"""How far each way to run the network is from float64, beside the published code."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from amir.models.published import from_published
from benchmarks.gpu_rows.place import Place
from benchmarks.gpu_rows.table import Row, tried
from benchmarks.gpu_rows.variants import VARIANTS, Pair, Variant, built, left_out


class Answers(dict[str, Tensor]):
    """image: the restored one. Gradients of its mean square and the balance loss, by parameter."""

    @classmethod
    def of(cls, network: nn.Module, degraded: Tensor, **given: object) -> Answers:
        found = network.train()(degraded, **given)
        image, balance = found[0], found[1]
        network.zero_grad()
        (image.square().mean() + 0.001 * balance.sum()).backward()
        gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        return cls({"image": image.detach(), **gradients})


def error_rows(pair: Pair, place: Place) -> Iterator[Row]:
    """Gate noise and images are the same for all; products in full float32 unless a row says."""
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(1)
    side = 16 if place.tiny else 64
    degraded = torch.rand(2, 1, side, side, device=place.device)
    torch.manual_seed(2)
    noise = pair.ours.draw_gate_noise(degraded)
    exact = Answers.of(
        copy.deepcopy(pair.ours).double(),
        degraded.double(),
        gate_noise=[level.double() for level in noise],
    )
    rows: list[Row] = []
    if pair.published is not None:
        published = pair.published

        def of_published() -> Row:
            torch.manual_seed(2)
            found = Answers.of(published, degraded)
            image = found.pop("image")
            return _distances({"image": image, **from_published("amir", dict(found))}, exact)

        tried(rows, {"variant": "published"}, of_published)
    for variant in VARIANTS:
        if variant.graph or left_out(variant, place):
            continue

        def of_variant(variant: Variant = variant) -> Row:
            with built(variant, pair.ours, place) as network:
                return _distances(Answers.of(network, degraded, gate_noise=noise), exact)

        tried(rows, {"variant": variant.name}, of_variant)
        place.forget()
    torch.backends.cudnn.allow_tf32 = True
    yield from rows


def _distances(found: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> Row:
    """Largest error of the image; relative error of all gradients as one, and the worst of them."""
    off = {n: (found[n].double() - value).norm() for n, value in exact.items() if n in found}
    size = {n: exact[n].norm() for n in off}
    names = [name for name in off if name != "image"]
    whole = (
        torch.stack([off[n] for n in names]).norm() / torch.stack([size[n] for n in names]).norm()
    )
    return {
        "max_error": (found["image"].double() - exact["image"]).abs().max().item(),
        "gradient error": whole.item(),
        "worst gradient": max((off[n] / size[n].clamp_min(1e-12)).item() for n in names),
    }
