"""Settings from YAML and dotted options; every mistake is named with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from amir.command_line import flatten, leaves, read_yaml, settings_from, validate
from amir.config import EvaluateSettings, PrepareSettings, TrainSettings
from amir.errors import InputError
from amir.modality import Modality

SHORTCUTS = {"data": "data.path"}


def train(*arguments: str) -> TrainSettings:
    return settings_from(["--data", "d", *arguments], TrainSettings, shortcuts=SHORTCUTS)


def refusal(*arguments: str) -> str:
    with pytest.raises(InputError) as caught:
        train(*arguments)
    assert caught.value.code == "invalid_setting"
    return str(caught.value)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_options_lie_over_the_file(config: Any) -> None:
    file = config("steps: 10\noptimizer:\n  learning_rate: 2e-4\n  warmup_steps: 5\n")
    settings = train("--config", file, "--optimizer.learning_rate", "1e-3")
    assert (settings.steps, settings.optimizer.warmup_steps) == (10, 5)
    assert settings.optimizer.learning_rate == 1e-3


def test_a_file_may_spell_a_setting_with_dots(config: Any) -> None:
    file = config("model.dim: 8\nmodel:\n  experts: 6\n  dim: 16\n")
    assert (train("--config", file).model.dim, train("--config", file).model.experts) == (8, 6)


def test_an_empty_section_or_file_leaves_the_defaults(config: Any) -> None:
    assert train("--config", config("")) == train()
    assert train("--config", config("model:\n"), "--model.dim", "8").model.dim == 8


def test_shortcuts_spell_a_setting_briefly() -> None:
    assert train().data.path == Path("d")


@pytest.mark.parametrize("spelling", ["--init-from", "--init_from"])
def test_words_of_a_name_are_parted_by_a_hyphen_or_an_underscore(spelling: str) -> None:
    assert train(spelling, "first").init_from == "first"


@pytest.mark.parametrize(
    ("spelling", "on"), [([], True), (["true"], True), (["false"], False)], ids=str
)
def test_a_switch_needs_no_value(spelling: list[str], on: bool) -> None:
    settings = train("--data.flips", *spelling, "--steps", "3")
    assert (settings.data.flips, settings.steps) == (on, 3)


@pytest.mark.parametrize("spelling", [["1", "2", "3", "4"], ["1,2,3,4"], ["[1, 2, 3, 4]"]])
def test_a_list_has_three_spellings(spelling: list[str]) -> None:
    assert train("--model.blocks", *spelling).model.blocks == (1, 2, 3, 4)


def test_a_path_in_a_list_keeps_its_commas_and_spaces() -> None:
    models = ["a folder/with, comma", "run@3"]
    settings = settings_from(["--data", "d", "--out", "o", "--models", *models], EvaluateSettings)
    assert list(settings.models) == models


def test_null_unsets_what_can_be_unset() -> None:
    arguments = ["--cohort", "c", "--out", "o", "--central_slices"]
    assert settings_from([*arguments, "null"], PrepareSettings).central_slices is None
    assert settings_from([*arguments, "7"], PrepareSettings).central_slices == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--optimizer.learning_rat", "1"], "Did you mean --optimizer.learning_rate"),
        (["--steps", "0"], "steps is '0': Input should be greater than or equal to 1"),
        (["--optimizer.learning_rate", "inf"], "learning_rate is 'inf': Input should be a finite"),
        (["--optimizer.betas", "0.9", "1"], "betas.1 is '1': Input should be less than 1"),
        (["--data.tasks", "MRI", "XRAY"], "data.tasks.1 is 'XRAY': Input should be 'MRI', 'CT' or"),
        (["--data.crop", "100"], "data.crop is '100': Input should be a multiple of 8"),
        (["--model.top_k", "5"], "model: top_k is 5, more than the 4 experts"),
        (["--workers.count", "3"], "batch is 8, which 3 workers cannot share equally"),
        (["--steps"], "argument --steps: expected one argument; see --help"),
        (["--run", "../escape"], "run is '../escape': String should match pattern"),
        (["stray"], "unknown setting 'stray'"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(arguments: list[str], told: str) -> None:
    assert told in refusal(*arguments)


def test_every_mistake_is_named_at_once() -> None:
    told = refusal("--steps", "0", "--batch", "0")
    assert "steps is '0'" in told
    assert "batch is '0'" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stpes: 3", "unknown setting 'stpes'. Did you mean --steps?"),
        ("model:\n  dims: 3", "unknown setting 'model.dims'. Did you mean --model.dim"),
        ("model: 3", "model is 3: Input should be a valid dictionary"),
        ("- 1\n- 2", "holds no settings, but a list"),
        ("a: [1", "is not a YAML file"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, told: str, config: Any) -> None:
    assert told in refusal("--config", config(text))


def test_an_option_below_what_is_no_section_is_named(config: Any) -> None:
    told = refusal("--config", config("model: 3"), "--model.dim", "4")
    assert "model is 3, which leaves no place for model.dim" in told


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"no settings file none\.yaml") as caught:
        train("--config", "none.yaml")
    assert caught.value.code == "missing_file"


def test_an_unknown_setting_is_answered_with_the_known_ones() -> None:
    told = refusal("--learning", "1")
    assert all(name in told for name, _ in leaves(TrainSettings))


def test_what_is_needed_is_asked_for() -> None:
    with pytest.raises(InputError, match="out is needed: give --out"):
        settings_from([], PrepareSettings)
    with pytest.raises(InputError, match="cohort is needed: give --cohort"):
        settings_from(["--out", "d"], PrepareSettings)


def test_flattened_settings_have_the_dotted_names_and_come_back(tmp_path: Path) -> None:
    settings = train("--data.tasks", "CT", "--model.dim", "8")
    flat = flatten(settings)
    assert flat["data.tasks"] == ["CT"]
    assert flat.keys() == dict(leaves(TrainSettings)).keys()
    (tmp_path / "flat.yaml").write_text(yaml.safe_dump(flat))
    again = settings_from(["--config", str(tmp_path / "flat.yaml")], TrainSettings)
    assert again == settings
    assert again.data.tasks == (Modality.CT,)


def test_a_mapping_is_validated_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data:\n  path: d\n")
    assert validate(TrainSettings, read_yaml(tmp_path / "a.yaml")) == train()
