"""Who may train into a run folder, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amir.config import TrainSettings
from amir.errors import InputError
from amir.training.run_folder import RunFolder, claim, run_name

DATASET = "cd" * 32


def begin(settings: TrainSettings, status: str | None = None) -> RunFolder:
    """Claim a run as the trainer does, and leave it in this state."""
    with claim(settings, DATASET) as folder:
        folder.write_settings(settings, DATASET)
        if status is not None:
            folder.set_status(status)
    return folder


def refusal(settings: TrainSettings, dataset: str = DATASET) -> str:
    with pytest.raises(InputError) as caught, claim(settings, dataset):
        pass
    assert caught.value.code == "run_exists"
    return str(caught.value)


@pytest.mark.parametrize("status", [None, "running", "failed"])
def test_the_same_command_goes_on_with_an_unfinished_run(
    train_settings: Callable[..., Any], status: str | None
) -> None:
    first = begin(train_settings(), status)
    assert begin(train_settings()).path == first.path


def test_a_finished_run_is_refused_with_what_to_do(train_settings: Callable[..., Any]) -> None:
    begin(train_settings(), "finished")
    message = refusal(train_settings())
    assert "run tiny is finished after 8 steps" in message
    assert all(option in message for option in ("--run", "--steps", "--init-from tiny"))


def test_other_settings_under_the_same_name_are_refused_with_the_difference(
    train_settings: Callable[..., Any],
) -> None:
    begin(train_settings())
    message = refusal(train_settings(**{"optimizer.learning_rate": 1e-3, "data.flips": True}))
    assert "optimizer.learning_rate was 0.0002, is 0.001" in message
    assert "data.flips was False, is True" in message
    assert "--run" in message
    assert "steps" not in message


def test_another_dataset_under_the_same_name_is_refused(
    train_settings: Callable[..., Any],
) -> None:
    begin(train_settings())
    assert "dataset_digest was cdcd" in refusal(train_settings(), "ef" * 32)


def test_where_a_run_takes_place_does_not_make_it_another(
    train_settings: Callable[..., Any],
) -> None:
    begin(train_settings())
    elsewhere = {"workers.count": 3, "workers.threads": 2, "tracking.experiment": "other"}
    begin(train_settings(**elsewhere))


def test_a_run_without_a_name_is_named_by_what_it_does(train_settings: Callable[..., Any]) -> None:
    name = run_name(train_settings(run=None), DATASET)
    assert len(name) == 12
    assert name == run_name(train_settings(run=None, **{"workers.count": 2}), DATASET)
    assert name != run_name(train_settings(run=None, seed=1), DATASET)
    assert name != run_name(train_settings(run=None), "ef" * 32)


def test_a_run_in_other_hands_is_refused_until_they_let_go(
    train_settings: Callable[..., Any],
) -> None:
    with claim(train_settings(), DATASET):
        assert "being trained by another process" in refusal(train_settings())
        assert begin(train_settings(run="other")).name == "other"
    begin(train_settings())


def test_a_claim_that_came_to_nothing_leaves_no_folder(
    train_settings: Callable[..., Any], tmp_path: Path
) -> None:
    def refused() -> None:
        with claim(train_settings(), DATASET):
            raise InputError("invalid_setting", "MLflow does not answer")

    with pytest.raises(InputError, match="MLflow"):
        refused()
    assert list((tmp_path / "storage").iterdir()) == []


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.rows() == []
    folder.append([{"step": 1}, {"step": 2}])
    with folder.metrics.open("a") as file:
        file.write('{"step": 3, "train/lo')
    assert folder.rows() == [{"step": 1}, {"step": 2}]
    folder.forget_after(1)
    folder.append([{"step": 2, "train/loss": 0.1 + 0.2}])
    assert folder.rows() == [{"step": 1}, {"step": 2, "train/loss": 0.1 + 0.2}]
