"""The page of a sweep: whole, self-contained, right about what happened, for running sweeps too."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from amir.config import SweepSettings
from amir.errors import InputError
from amir.sweeping.page import contents, write_summary
from amir.sweeping.record import Record, Sweep, read_sweep
from amir.sweeping.setting_figures import draw_settings
from amir.sweeping.subject import subject_of

HOSTILE = "<script>alert(1)</script> & a loss of nan"
SPACE = {
    "model.experts": {"lower": 2, "upper": 4},
    "optimizer.learning_rate": {"lower": 3e-4, "upper": 1e-2, "log": True},
}


@pytest.fixture(scope="module")
def ended(
    record_sweep: Callable[..., Sweep],
    sweep_settings: Callable[..., SweepSettings],
    tmp_path_factory: pytest.TempPathFactory,
) -> Sweep:
    """Sixteen trials, one of which failed, and the confirmation of the best two."""
    folder = tmp_path_factory.mktemp("sweeps") / "ended"
    record_sweep(folder, sweep_settings(trials=16, space=SPACE), failed=3)
    Record(folder).ended(3, "failed", steps_run=12, reason=HOSTILE)
    return read_sweep(folder)


@pytest.fixture(scope="module")
def text(ended: Sweep) -> str:
    return write_summary(ended.folder).read_text(encoding="utf-8")


def test_the_page_is_whole_and_asks_for_nothing_outside(text: str) -> None:
    assert re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#|data:)[^"']*""", text) == []
    assert not re.search(r"https?://|@import|url\(\s*['\"]?(?!#|data:)", text)
    assert not re.search(r"<(script|link|iframe|object)\b", text)
    sections = re.findall(r'<section id="(\w+)"', text)
    every = ["summary", "best", "settings", "importance", "cost", "confirmation", "failures"]
    assert sections == [*every, "reproduce"]
    assert set(re.findall(r'<a href="#(\w+)"', text)) == set(sections)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', text)) <= set(ids)
    assert "&lt;script&gt;alert(1)" in text


def test_it_tells_what_the_record_holds(ended: Sweep, text: str) -> None:
    subject = subject_of(ended)
    best, rung = subject.ranking[0], subject.ranking[0].rungs[-1]
    states = [trial.state for trial in ended.search]
    assert f"{rung.objective:+.2f} dB" in text
    assert f"trial {best.name}, trained in full; MRI gains least, {rung.minimum:+.2f} dB" in text
    for state in ("finished", "stopped", "failed"):
        assert f"{states.count(state)} {state}" in text
    steps = sum(trial.steps_run for trial in ended.search)
    assert f"{steps:,} of the {16 * 270:,} that all trials take in full" in text
    rate = best.parameters["optimizer.learning_rate"]
    assert f"--optimizer.learning_rate {rate}" in text
    assert f"| {best.name} | {rung.objective:+.3f} |" in text
    for chart in draw_settings(subject):  # to be seen, and not only heard
        assert f'id="{chart.name}-text" class="told">{chart.text}</span>' in text
    for trial, again in subject.repeated():
        mean = sum(one.rungs[-1].objective for one in again) / len(again)
        assert f"{trial.name}: {mean:+.2f} dB on average of 3." in text


def test_what_is_under_way_is_told_as_such(
    record_sweep: Callable[..., Sweep],
    sweep_settings: Callable[..., SweepSettings],
    tmp_path: Path,
) -> None:
    settings = sweep_settings(trials=16, space=SPACE)
    first = write_summary(record_sweep(tmp_path / "first", settings, ended=0).folder)
    assert "not ended: 1 of 16 trials drawn, 1 under way" in first.read_text()
    later = record_sweep(tmp_path / "later", settings, ended=4)
    found = contents(subject_of(later))
    assert found["tiles"][0]["head"] == "Best gain"
    assert found["confirmation"] is None
    assert found["importance"] is None  # of five trials
    assert "1 running" in write_summary(later.folder).read_text()


def test_a_sweep_without_a_single_validation_has_a_page(
    sweep_settings: Callable[..., SweepSettings], tmp_path: Path
) -> None:
    settings = sweep_settings()
    about = {"settings": settings.model_dump(mode="json", exclude={"tracking"})}
    Record(tmp_path).describe(about | {"dataset_digest": "ab" * 32, "code_version": "test"})
    text = write_summary(tmp_path).read_text()
    assert "No trial has been validated yet." in text
    assert re.findall(r'<section id="(\w+)"', text) == ["summary", "best", "cost", "reproduce"]


def test_a_folder_that_is_no_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no sweep: it has no sweep\.json"):
        write_summary(tmp_path)


@pytest.mark.system("chromium")
@pytest.mark.parametrize("width", [390, 1400])
def test_it_opens_without_sideways_scrolling(text: str, width: int, tmp_path: Path) -> None:
    page = tmp_path / "measured.html"
    measure = (
        "<script>document.title = 'width ' + document.documentElement.scrollWidth + ' of ' + "
        "innerWidth</script></body>"
    )
    # The page itself allows no script; a copy without its policy carries one that measures.
    open_text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    page.write_text(open_text.replace("</body>", measure))
    chromium = shutil.which("chromium")
    assert chromium is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    profile = f"--user-data-dir={tmp_path / 'chromium'}"
    shown = subprocess.run(
        [chromium, *options, profile, "--virtual-time-budget=3000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    found = re.search(r"<title>width (\d+) of (\d+)", shown)
    assert found is not None
    assert int(found[1]) <= int(found[2])
