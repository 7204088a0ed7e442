"""The jobs, run as users run them, with something wrong: exit code 2, and a line that helps."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TRAIN, EVALUATE, PREPARE = "train_all_in_one", "evaluate", "prepare_dataset"
Refusal = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """refusal(job, code, *options): the message with which a job leaves, having written nothing."""

    def refused(job: str, code: str, *options: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        done = subprocess.run(
            [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *map(str, options)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        [line] = done.stderr.strip().splitlines()
        assert line.startswith(f"error [{code}]: ")
        assert done.stdout == ""
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return refused


def test_a_missing_dataset_is_named_with_how_to_make_one(refusal: Refusal, tmp_path: Path) -> None:
    message = refusal(TRAIN, "missing_file", "--data", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert "jobs/prepare_dataset.py" in message


def test_an_unknown_setting_is_answered_with_those_like_it(
    refusal: Refusal, tiny_dataset: Path
) -> None:
    message = refusal(
        TRAIN, "invalid_setting", "--data", tiny_dataset, "--optimizer.learning-rte", "1e-3"
    )
    assert "Did you mean --optimizer.learning_rate" in message


def test_a_setting_out_of_bounds_is_named_with_its_bound(
    refusal: Refusal, tiny_dataset: Path
) -> None:
    message = refusal(TRAIN, "invalid_setting", "--data", tiny_dataset, "--model.top_k", 5)
    assert "top_k is 5, more than the 4 experts" in message


def test_an_unknown_network_is_answered_with_the_known_ones(
    refusal: Refusal, tiny_dataset: Path
) -> None:
    message = refusal(TRAIN, "invalid_setting", "--data", tiny_dataset, "--model.name", "amire")
    assert "choose from amir" in message


def test_a_missing_settings_file_is_named(refusal: Refusal) -> None:
    assert "no settings file mine.yaml" in refusal(TRAIN, "missing_file", "--config", "mine.yaml")


def test_a_model_to_start_from_that_does_not_exist_is_refused(
    refusal: Refusal, tiny_dataset: Path
) -> None:
    message = refusal(TRAIN, "unknown_model", "--data", tiny_dataset, "--init-from", "nobody")
    assert "no run 'nobody'" in message


def test_a_model_to_start_from_that_does_not_fit_is_refused(
    refusal: Refusal, tiny_dataset: Path, tmp_path: Path, save_checkpoint: Callable[..., Any]
) -> None:
    folder = save_checkpoint(tmp_path / "models" / "1").folder
    message = refusal(TRAIN, "invalid_setting", "--data", tiny_dataset, "--init-from", folder)
    assert "does not fit the model settings" in message


def test_a_task_without_slices_is_refused(
    refusal: Refusal, tmp_path: Path, phantom_cohort: Path
) -> None:
    from amir.config import PrepareSettings
    from amir.dataset.prepare import prepare

    lines = phantom_cohort.read_text().splitlines()
    cohort = phantom_cohort.with_name("without-mri.csv")
    cohort.write_text("\n".join(line for line in lines if "-mri-" not in line) + "\n")
    prepare(PrepareSettings(cohort=cohort, out=tmp_path / "two"), each=map)
    message = refusal(TRAIN, "invalid_dataset", "--data", tmp_path / "two")
    assert "no MRI slices in its train split" in message
    assert "--data.tasks" in message


def test_evaluating_an_unknown_model_is_refused(refusal: Refusal, tiny_dataset: Path) -> None:
    message = refusal(
        EVALUATE, "unknown_model", "--data", tiny_dataset, "--models", "nobody", "--out", "here"
    )
    assert "RUN@STEP" in message


def test_evaluating_a_model_of_another_dataset_is_refused(
    refusal: Refusal, tiny_dataset: Path, tmp_path: Path, save_checkpoint: Callable[..., Any]
) -> None:
    model = save_checkpoint(tmp_path / "models" / "1").folder
    options = ("--data", tiny_dataset, "--models", model, "--out", tmp_path / "here")
    message = refusal(EVALUATE, "invalid_dataset", *options)
    assert "--other-dataset true" in message


def test_preparing_without_a_cohort_file_is_refused(refusal: Refusal) -> None:
    message = refusal(PREPARE, "missing_file", "--cohort", "cohort.csv", "--out", "here")
    assert "cohort.csv" in message


def test_a_cluster_that_is_not_there_is_named(
    refusal: Refusal, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = refusal(TRAIN, "invalid_setting", "--data", tiny_dataset)
    assert f"no Ray cluster answers at RAY_ADDRESS={address}" in message


def test_help_lists_the_settings_with_their_defaults() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{TRAIN}.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert "--optimizer.learning_rate VALUE" in done.stdout
    assert "(default 0.0002)" in done.stdout
