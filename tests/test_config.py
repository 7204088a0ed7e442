"""Every setting is documented, bounded and listed; the published files hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from amir.command_line import leaves, settings_from
from amir.config import (
    DemoSettings,
    EvaluateSettings,
    InterpretSettings,
    ModelSettings,
    PaperSettings,
    PrepareSettings,
    ReportSettings,
    RestoreSettings,
    Section,
    SplitFractions,
    TrainSettings,
)
from amir.errors import InputError
from amir.modality import Modality
from amir.models.registry import model_settings

JOBS = [
    PrepareSettings,
    TrainSettings,
    EvaluateSettings,
    InterpretSettings,
    ReportSettings,
    RestoreSettings,
    DemoSettings,
    PaperSettings,
]
CONFIGS = sorted((Path(__file__).resolve().parent.parent / "jobs" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("job", JOBS)
def test_help_lists_every_setting_with_its_default(
    job: type[Section], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit, match="0"):
        settings_from(["--help"], job)
    told = " ".join(capsys.readouterr().out.split())
    for name, field in leaves(job):
        default = "(needed)" if field.is_required() else "(default "
        assert field.description, name
        assert f"--{name} {'[VALUE]' if field.annotation is bool else 'VALUE'}" in told
        assert f"{field.description} {default}" in told


def test_defaults_are_shown_as_one_would_type_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        settings_from(["--help"], TrainSettings)
    told = capsys.readouterr().out
    for default in ("MRI CT PET", "5 7 7 9", "null", "true", "0.0002", "proportional"):
        assert f"(default {default})" in told


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_published_file_of_settings_is_valid(config: Path) -> None:
    settings = settings_from(["--config", str(config), "--data.path", "d"], TrainSettings)
    assert settings.model.name == "amir"


def test_the_published_recipe_is_the_default() -> None:
    amir = next(config for config in CONFIGS if config.stem == "amir")
    assert settings_from(["--config", str(amir), "--data.path", "d"], TrainSettings) == (
        settings_from(["--data.path", "d"], TrainSettings)
    )


def test_the_settings_of_the_network_are_the_networks_own() -> None:
    assert ModelSettings().network() == model_settings("amir")


def test_degradation_options_leave_out_what_is_null() -> None:
    degradation = PrepareSettings(cohort="c", out="o").degradation
    assert degradation.options(Modality.MRI) == {"factor": 4, "noise": 0.0}
    assert degradation.options(Modality.CT)["dose"] == 0.25
    assert "photons" not in degradation.options(Modality.CT)
    assert degradation.options(Modality.PET)["dose_reduction"] == 12.0


def test_fractions_leave_no_more_than_everything() -> None:
    assert SplitFractions(train=0.9, validation=0.1)
    with pytest.raises(ValidationError, match=r"train \+ validation is 1\.2, more than 1"):
        SplitFractions(train=0.9, validation=0.3)


def test_settings_never_change_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ModelSettings().dim = 3  # type: ignore[misc]


def test_science_is_what_decides_the_result() -> None:
    def science(*arguments: str) -> dict[str, object]:
        return settings_from(["--data.path", "d", *arguments], TrainSettings).science()

    elsewhere = ["--storage", "s", "--run", "r", "--workers.count", "2", "--tracking.uri", "none"]
    assert science(*elsewhere, "--data.path", "moved") == science()
    assert science("--data.damaged", "skip", "--workers.least", "1") == science()
    assert science("--arithmetic.recompute", "true") == science()
    assert science("--arithmetic.precision", "bfloat16") != science()
    assert "arithmetic" not in science()  # or runs from before would have other names
    assert science("--seed", "1") != science()
    assert science("--data.crop", "64") != science()


def test_a_batch_is_shared_equally_by_every_number_of_workers_there_may_be() -> None:
    def settings(*arguments: str) -> TrainSettings:
        return settings_from(["--data.path", "d", *arguments], TrainSettings)

    few_or_many = ["--workers.count", "3", "--workers.least", "2"]
    assert settings("--batch", "12", *few_or_many).workers.counts == range(2, 4)
    assert settings("--workers.count", "2").workers.counts == range(2, 3)
    with pytest.raises(InputError, match="batch is 8, which 3 workers cannot share equally"):
        settings("--batch", "8", *few_or_many)
    with pytest.raises(InputError, match=r"each worker's 4 crops .* 3 equal parts"):
        settings("--batch", "12", "--accumulate", "3", *few_or_many)
    with pytest.raises(InputError, match="least is 4, more than the count of 3"):
        settings("--batch", "12", "--workers.count", "3", "--workers.least", "4")
