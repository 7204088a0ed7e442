"""Checkpoints: whole or not there, verified when read, and named by one digest."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError

from amir import checkpoint, durable
from amir.checkpoint import Checkpoint
from amir.errors import InputError

Save = Callable[..., Checkpoint]


def damage(folder: Path, generator: random.Random) -> str:
    """Flip a bit of one of a checkpoint's files or cut it short; returns what was done."""
    file = generator.choice(sorted(folder.iterdir()))
    content = bytearray(file.read_bytes())
    place = generator.randrange(len(content))
    if generator.random() < 0.3:
        file.write_bytes(content[:place])
        return f"{file.name} cut at {place}"
    content[place] ^= 1 << generator.randrange(8)
    file.write_bytes(content)
    return f"{file.name} flipped at {place}"


def restated(folder: Path, **changes: object) -> None:
    """Rewrite settings.yaml, digests included, as another version of the platform would have."""
    settings = yaml.safe_load((folder / "settings.yaml").read_text()) | changes
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    digests = json.loads((folder / "digests.json").read_text())
    digests["settings.yaml"] = durable.sha256(folder / "settings.yaml")
    (folder / "digests.json").write_text(json.dumps(digests))


def test_a_checkpoint_comes_back_as_it_was_saved(save_checkpoint: Save, tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path / "100", seed=3)
    loaded = checkpoint.load(tmp_path / "100")
    assert loaded.digest == saved.digest
    assert (loaded.step, loaded.scores) == (100, {"MRI": {"psnr": 30.0}})
    for name, tensor in saved.weights().items():
        assert torch.equal(loaded.weights()[name], tensor)
    moments, values = loaded.training_state()
    assert values == {"step": 100, "best_gain": 0.5}
    assert moments.keys() == loaded.weights().keys()


def test_the_network_is_rebuilt_from_the_folder_alone(
    save_checkpoint: Save, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "100", seed=3)
    first, second = (checkpoint.load(tmp_path / "100").network() for _ in range(2))
    image = torch.rand(1, 1, 16, 16)
    assert not first.training
    with torch.inference_mode():
        assert torch.equal(first(image).image, second(image).image)


def test_the_digest_names_weights_and_restoring_settings_and_nothing_else(
    save_checkpoint: Save, tmp_path: Path
) -> None:
    digest = save_checkpoint(tmp_path / "100").digest
    assert save_checkpoint(tmp_path / "200", trains=False).digest == digest
    assert save_checkpoint(tmp_path / "300", seed=1).digest != digest
    restated(tmp_path / "200", intensity={"scale": "fixed"})
    assert checkpoint.load(tmp_path / "200").digest != digest


def test_a_digest_outlives_its_folder(save_checkpoint: Save, tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path / "100")
    digest = saved.digest
    shutil.rmtree(tmp_path / "100")
    assert saved.digest == digest


def test_every_damage_is_found_and_the_one_before_is_used(
    save_checkpoint: Save, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(tmp_path / "run" / "100")
    save_checkpoint(tmp_path / "sound")
    newest = tmp_path / "run" / "200"
    generator = random.Random(7)
    for _ in range(100):
        shutil.rmtree(newest, ignore_errors=True)
        shutil.copytree(tmp_path / "sound", newest)
        done = damage(newest, generator)
        with pytest.raises(InputError) as caught:
            checkpoint.load(newest)
        assert caught.value.code == "invalid_checkpoint", done
        caplog.clear()
        found = checkpoint.latest(tmp_path / "run")
        assert found is not None
        assert found.step == 100, done
        assert "passing over a damaged checkpoint: 200" in caplog.text


@pytest.mark.parametrize("name", ["weights.safetensors", "digests.json", "training_state.json"])
def test_a_missing_file_is_named(name: str, save_checkpoint: Save, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "100")
    (tmp_path / "100" / name).unlink()
    with pytest.raises(InputError, match=name):
        checkpoint.load(tmp_path / "100")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "format 2, this version reads up to 1: update"),
        ({"ranges": {"CT": [-1024, 3072, "HU"]}}, r"CT ranges \[-1024, 3072, 'HU'\]"),
        ({"planes": {"PET": "axial"}}, "PET planes axial, this version uses coronal"),
        ({"normalising": "log"}, "does not know, .*: normalising; update"),
        ({"intensity": {"scale": "fixed", "gamma": 2}}, r"does not know, .*: intensity\.gamma"),
    ],
)
def test_a_model_of_another_kind_is_refused_and_never_passed_over(
    changes: dict[str, object], told: str, save_checkpoint: Save, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "100")
    save_checkpoint(tmp_path / "200")
    restated(tmp_path / "200", **changes)
    for read in (checkpoint.load, lambda folder: checkpoint.latest(folder.parent)):
        with pytest.raises(InputError, match=told):
            read(tmp_path / "200")


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"name": "amir", "settings": {"shiny": 1}}, "'amir' has no setting shiny; it knows dim"),
        ({"name": "another", "settings": {}}, "unknown model 'another'; choose from amir"),
        ({"name": "amir", "settings": {"dim": 8}}, "its weights do not fit its settings"),
    ],
)
def test_no_network_is_made_of_settings_that_are_unknown_or_do_not_fit(
    network: dict[str, object], told: str, save_checkpoint: Save, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "100")
    restated(tmp_path / "100", network=network)
    with pytest.raises(InputError, match=told):
        checkpoint.load(tmp_path / "100").network()


def test_a_kill_while_writing_leaves_the_one_before(
    save_checkpoint: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "100")

    def killed(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(durable, "sha256", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "200")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["100"]
    assert checkpoint.saved_steps(tmp_path) == [100]


def test_a_step_saved_again_replaces_what_was_there(save_checkpoint: Save, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "100", seed=0)
    (tmp_path / "100" / "weights.safetensors").write_bytes(b"damaged")
    again = save_checkpoint(tmp_path / "100", seed=1)
    assert checkpoint.load(tmp_path / "100").digest == again.digest
    assert checkpoint.saved_steps(tmp_path) == [100]


def test_a_checkpoint_without_training_state_restores_but_does_not_resume(
    save_checkpoint: Save, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "100", trains=False)
    loaded = checkpoint.load(tmp_path / "100")
    loaded.network()
    with pytest.raises(InputError, match="no run can resume from it"):
        loaded.training_state()


def test_a_run_without_checkpoints_has_no_latest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert checkpoint.latest(tmp_path / "none") is None
    assert (checkpoint.saved_steps(tmp_path / "none"), caplog.text) == ([], "")


def test_a_full_disk_is_named_though_safetensors_words_it_otherwise(
    save_checkpoint: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(tensors: object, path: Path) -> None:
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(InputError, match="no room left") as caught:
        save_checkpoint(tmp_path / "100")
    assert caught.value.code == "disk_full"
    assert list(tmp_path.iterdir()) == []
