"""One spelling of "which model": folder, RUN, RUN@STEP, digest; and what is said of any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amir.checkpoint import Checkpoint
from amir.errors import InputError
from amir.references import best_step, find_model


@pytest.fixture
def storage(save_checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> Path:
    """Two runs: first has steps 100 and 200, the best being 100; second has step 50."""
    folder = tmp_path / "storage"
    for seed, (run, step) in enumerate([("first", 100), ("first", 200), ("second", 50)]):
        save_checkpoint(folder / run / "checkpoints" / str(step), seed=seed)
    (folder / "first" / "checkpoints" / "best").write_text("100")
    return folder


def refusal(reference: str, storage: Path) -> str:
    with pytest.raises(InputError) as caught:
        find_model(reference, storage=storage)
    assert caught.value.code == "unknown_model"
    return str(caught.value)


def test_a_run_is_its_best_checkpoint_else_its_latest(storage: Path) -> None:
    assert find_model("first", storage=storage).step == best_step(storage / "first") == 100
    assert find_model("second", storage=storage).step == 50
    assert best_step(storage / "second") is None


def test_a_step_of_a_run_can_be_named(storage: Path) -> None:
    assert find_model("first@200", storage=storage).step == 200


def test_a_folder_is_a_checkpoint_or_a_run(storage: Path, tmp_path: Path) -> None:
    folder = storage / "first" / "checkpoints" / "200"
    assert find_model(str(folder), storage=tmp_path / "elsewhere").step == 200
    assert find_model(str(storage / "first"), storage=tmp_path / "elsewhere").step == 100


def test_a_digest_finds_its_checkpoint_in_whatever_run(storage: Path) -> None:
    wanted = find_model("second", storage=storage)
    for length in (12, 64):
        assert find_model(wanted.digest[:length], storage=storage).folder == wanted.folder


def test_a_damaged_checkpoint_does_not_hide_the_others(storage: Path) -> None:
    digest = find_model("second", storage=storage).digest
    (storage / "first" / "checkpoints" / "100" / "settings.yaml").write_text("{")
    assert find_model(digest[:12], storage=storage).step == 50


def test_a_damaged_checkpoint_is_never_loaded_by_its_digest(storage: Path) -> None:
    found = find_model("second", storage=storage)
    digest = found.digest
    (found.folder / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"weights\.safetensors is missing or has changed"):
        find_model(digest, storage=storage)


def test_a_damaged_best_checkpoint_is_named_and_not_replaced(storage: Path) -> None:
    (storage / "first" / "checkpoints" / "100" / "scores.json").unlink()
    with pytest.raises(InputError, match="100 is not a sound checkpoint"):
        find_model("first", storage=storage)


def test_an_unknown_model_is_answered_with_what_there_is(storage: Path) -> None:
    assert "Runs here: first, second" in refusal("third", storage)
    assert "no checkpoint at step '300'; it has 100, 200" in refusal("first@300", storage)
    assert "no checkpoint at step 'best'" in refusal("first@best", storage)
    assert "there is no checkpoint folder" in refusal("some/folder", storage)
    assert "has a digest 0123456789ab" in refusal("0123456789ab", storage)


def test_a_run_that_has_not_saved_yet_says_so(storage: Path) -> None:
    (storage / "third" / "checkpoints").mkdir(parents=True)
    assert "run third has no checkpoint yet" in refusal("third", storage)


def test_without_any_run_the_spellings_are_listed(tmp_path: Path) -> None:
    assert "RUN@STEP, models:/amir@champion" in refusal("first", tmp_path / "none")


def test_a_registered_model_without_mlflow_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lies in MLflow: give --tracking\.uri"):
        find_model("models:/amir@champion", storage=tmp_path, tracking_uri="none")
