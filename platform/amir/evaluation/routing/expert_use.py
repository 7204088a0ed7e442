"""How much each task uses each expert (the paper's Fig. III b), and what the choice tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from amir.evaluation.routing.observed import SliceRouting
from amir.modality import Modality

SCHEMA = pa.schema(
    [
        ("modality", pa.string()),
        ("patient_id", pa.string()),
        ("scan_id", pa.string()),
        ("slice_index", pa.int32()),
        ("level", pa.string()),
        ("expert", pa.int32()),
        ("use", pa.float64()),
        ("weight", pa.float64()),
        ("entropy", pa.float64()),
    ]
)


def use_of(routing: SliceRouting) -> Iterator[dict[str, Any]]:
    """One row per level and expert.

    use: share of the pixels that the expert sees; over the experts they sum to K. weight: the mean
    of its gate over all pixels. entropy: of the router at this level, mean over pixels, in 0..1.
    """
    pair = routing.pair
    for level, record in routing.spatial.items():
        use, weight = record.asked.mean(axis=(0, 1)), record.gates.mean(axis=(0, 1))
        for expert in range(len(use)):
            yield {
                "modality": str(pair.modality),
                "patient_id": pair.patient_id,
                "scan_id": pair.scan_id,
                "slice_index": pair.slice_index,
                "level": level,
                "expert": expert + 1,
                "use": float(use[expert]),
                "weight": float(weight[expert]),
                "entropy": float(record.entropy.mean()),
            }


def mean_use(rows: Sequence[dict[str, Any]], level: str) -> dict[Modality, NDArray[np.float64]]:
    """Mean use of each expert by each task at a level, over its slices: [M]."""
    found = {}
    for task in Modality:
        own = [r for r in rows if r["level"] == level and r["modality"] == task]
        if own:
            experts = sorted({row["expert"] for row in own})
            found[task] = np.array(
                [np.mean([r["use"] for r in own if r["expert"] == e]) for e in experts]
            )
    return found


def task_information(use: dict[Modality, NDArray[np.float64]]) -> float:
    """What one routed pixel tells about its task, in bits: 0 if all tasks use the experts alike.

    The Jensen-Shannon divergence of the tasks' shares, all tasks counted alike; at most log2 of
    their number.
    """
    shares = [amounts / amounts.sum() for amounts in use.values()]
    return _entropy(np.mean(shares, axis=0)) - float(np.mean([_entropy(s) for s in shares]))


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log2(positive)).sum())
