"""The page: whole, self-contained, safe, and fit for a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from amir.config import ReportSettings
from amir.errors import InputError
from amir.evaluation.report.page import write_report

FEW = {"batches": 2, "batch": 1, "crop": 16}
# What makes a browser ask for something: anything but a place in the page or data in it.
REQUESTS = re.compile(r"""(?:src|href|poster|data|action|srcset)\s*=\s*["'](?!#|data:)[^"']*""")


class Page(HTMLParser):
    """Elements of a page with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(folder: Path, **chosen: object) -> str:
    settings = {"evaluation": folder, "slices": 3, "interference": FEW, **chosen}
    return write_report(ReportSettings(**settings)).read_text()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def text(evaluation: Path) -> str:
    return report(evaluation)


def test_the_page_is_whole_and_asks_for_nothing_outside(text: str, evaluation: Path) -> None:
    page = Page(text)
    assert REQUESTS.findall(text) == []
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)", text)
    assert "@import" not in text
    assert not re.search(r"https?://", text)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object"})
    assert len(text) < 5e6
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == [
        "summary",
        "scores",
        "patients",
        "examples",
        "failures",
        "quantities",
        "plausibility",
        "routing",
        "training",
        "data",
        "reproduce",
    ]
    assert text.count("For research only") == 2
    for command in ("prepare_dataset", "train_all_in_one", "evaluate", "report"):
        assert f"python jobs/{command}.py" in text
    assert "optimizer.learning_rate" in text
    beside = {path.name for path in evaluation.iterdir()}
    assert {"quantities.parquet", "quantities.json", "routing", "report.html"} <= beside


def test_who_cannot_see_is_told(text: str) -> None:
    page = Page(text)
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("scope") for attributes in page.all("th"))
    assert len(page.all("table")) == len(page.all("caption"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    labels = [a["aria-labelledby"] for a in page.all("svg")]
    assert len(labels) > 10
    assert set(labels) <= set(ids)
    assert len(ids) == len(set(ids))
    assert page.all("html") == [{"lang": "en"}]
    targets = {str(a["href"])[1:] for a in page.all("a")}
    assert targets <= set(ids)


def test_names_stay_names_whatever_they_look_like(
    hostile_dataset: Path, evaluate_on: Callable[..., Path], text: str
) -> None:
    # The evaluation keeps no restored slices here: they are made again.
    hostile = report(evaluate_on(hostile_dataset))
    assert "<script" not in hostile
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile
    structure = [tag for tag, _ in Page(hostile).elements if not in_a_plot(tag)]
    assert structure == [tag for tag, _ in Page(text).elements if not in_a_plot(tag)]


def in_a_plot(tag: str) -> bool:
    return tag in ("g", "path", "use", "text", "tspan", "defs", "rect", "clippath", "style")


def test_another_dataset_than_the_evaluated_one_is_refused(
    evaluation: Path, hostile_dataset: Path
) -> None:
    with pytest.raises(InputError, match="is not the dataset that was evaluated"):
        report(evaluation, data=hostile_dataset)


def test_a_model_that_was_not_evaluated_is_named(evaluation: Path) -> None:
    with pytest.raises(InputError, match="no model 'AIRNET'; choose from AMIR"):
        report(evaluation, method="AIRNET")


def test_a_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished evaluation"):
        report(tmp_path)


@pytest.mark.system("chromium")
@pytest.mark.parametrize("width", [390, 1400])
def test_it_opens_without_sideways_scrolling(text: str, width: int, tmp_path: Path) -> None:
    page = tmp_path / "measured.html"
    # The page itself allows no script; a copy without its policy carries one that measures.
    measure = (
        "<script>document.title = 'width ' + document.documentElement.scrollWidth + ' of ' + "
        "innerWidth + ', broken ' + [...document.images].filter(i => !i.naturalWidth).length"
        "</script></body>"
    )
    open_text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    page.write_text(open_text.replace("</body>", measure))
    chromium = shutil.which("chromium")
    assert chromium is not None
    shown = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'chromium'}",
            f"--window-size={width},900",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    found = re.search(r"<title>width (\d+) of (\d+), broken (\d+)", shown)
    assert found is not None
    scrolled, inner, broken = map(int, found.groups())
    assert scrolled <= inner
    assert broken == 0
