"""Ray Data as a parallel map, beside a training loop that is slower than it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from amir.parallel import SECONDS_PER_ROUND, PacedRounds, parallel_map


def test_the_scheduler_rests_while_nobody_takes_its_outcomes(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    rest = PacedRounds.on_execution_step

    def counted(self: PacedRounds, executor: object) -> None:
        rounds.append(time.monotonic())
        rest(self, executor)

    monkeypatch.setattr(PacedRounds, "on_execution_step", counted)

    def megabytes(item: int) -> dict[str, np.ndarray]:
        return {"item": np.full((1, 4_000_000), item, np.uint8)}

    outcomes = parallel_map(
        lambda: megabytes, range(100), actors=1, cpus=1, ordered=True, batch_size=1
    )
    assert int(next(outcomes)["item"][0, 0]) == 0
    start = time.monotonic()
    time.sleep(1.5)
    lasted = time.monotonic() - start
    meanwhile = len([moment for moment in rounds if start < moment < start + lasted])
    assert 0 < meanwhile <= lasted / SECONDS_PER_ROUND + 1
    assert [int(outcome["item"][0, 0]) for outcome in outcomes] == list(range(1, 100))
