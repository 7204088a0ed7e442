"""The benchmark that a lent GPU is asked once runs to its end; what it finds here means nothing."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_rows.variants import VARIANTS
from tests.models.interpreter import interpreter_that_prepares_once


@pytest.fixture(autouse=True)
def compiled_code_is_forgotten() -> object:
    yield
    torch._dynamo.reset()


@pytest.mark.timeout(300)
def test_a_dry_run_measures_forwards_and_steps_of_every_variant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    only = ["errors", "inference", "training"]
    assert gpu.main(["--device", "cpu", "--tiny", "--json", "--only", *only]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    assert list(told["tables"]) == only
    assert told["max_error"] < 0.1
    for name in ("inference", "training"):
        assert {row["variant"] for row in told["tables"][name]} == {v.name for v in VARIANTS}
        assert gpu.TITLES[name] in lines


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dry_run_fills_every_table_and_ends_with_one_object(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with interpreter_that_prepares_once():
        assert gpu.main(["--device", "cpu", "--tiny", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(told["tables"]) == list(gpu.TITLES)
    assert all(told["tables"].values())
    assert {"ratio", "inference ratio", "training ratio"} <= told.keys()


def test_what_would_come_too_late_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu", "--tiny", "--minutes", "-1", "--only", "errors"]) == 0
    assert "left out: no time was left" in capsys.readouterr().out


def test_without_a_gpu_the_dry_run_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--device cpu --tiny is a dry run" in capsys.readouterr().err
