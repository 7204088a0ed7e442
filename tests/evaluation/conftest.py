"""An evaluation of a tiny model with everything that jobs leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir.config import EvaluateSettings
from amir.evaluation.evaluate import evaluate
from amir.evaluation.scores import in_process

Evaluate = Callable[..., Path]


@pytest.fixture(scope="session")
def run_checkpoint(
    save_checkpoint: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint folder inside a run with settings and metrics, the last line half written."""
    run = tmp_path_factory.mktemp("storage") / "tiny"
    model = save_checkpoint(run / "checkpoints" / "8")
    lines = [{"step": k, "train/l1": 1 / k} for k in range(1, 9)]
    lines += [{"step": k, "validation/gain": k, "validation/CT/gain": k} for k in (4, 8)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text + '{"step": 9, "train')
    (run / "settings.yaml").write_text("steps: 8\noptimizer:\n  learning_rate: 0.1\n")
    folder: Path = model.folder
    return folder


@pytest.fixture(scope="session")
def evaluate_on(run_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluate:
    """evaluate_on(dataset folder, ...settings): the folder of an evaluation of run_checkpoint."""

    def evaluated(data: Path, **chosen: Any) -> Path:
        out = tmp_path_factory.mktemp("evaluation")
        settings = EvaluateSettings(
            data=data,
            models=(str(run_checkpoint),),
            out=out,
            other_dataset=True,
            tracking={"uri": "none"},
            **chosen,
        )
        evaluate(settings, each=in_process)
        return out

    return evaluated


@pytest.fixture(scope="session")
def evaluation(evaluate_on: Evaluate, tiny_dataset: Path) -> Path:
    """One evaluation that kept its restored slices; tests only add to it."""
    return evaluate_on(tiny_dataset, keep_restored=True)
