"""The page to look at a dataset: complete, self-contained, and safe whatever files are called."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amir.dataset.cohort import SPLITS
from amir.dataset.manifest import Manifest, Refusal, check_shards, read_manifest
from amir.dataset.preview import WINDOWS, write_preview
from amir.dataset.slices import middle_slice
from amir.modality import Modality

ADDRESS = re.compile(r"(?:https?:)?//|@import|url\(|<script|<link|<iframe")


@pytest.fixture
def copy(tiny_dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_dataset, tmp_path / "copy")


def page(folder: Path, manifest: Manifest | None = None) -> str:
    return write_preview(folder, manifest or read_manifest(folder)).read_text(encoding="utf-8")


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r"src='data:image/png;base64,([^']+)'", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_every_scan_is_shown_with_two_pictures_and_a_histogram(copy: Path) -> None:
    text, manifest = page(copy), read_manifest(copy)
    scans = [entry for split in SPLITS for entry in manifest.of(split)]
    assert text.count("<article>") == text.count("<svg") == len(scans) == 12
    assert len(pictures(text)) == 24
    for entry in scans:
        assert f"<h4>{entry.patient_id}</h4>" in text
    for split in SPLITS:
        assert f"<h3>{split}: {len(manifest.of(split))} scans</h3>" in text
    check_shards(copy, manifest)


def test_it_asks_for_nothing_from_elsewhere(copy: Path) -> None:
    text = re.sub(r"'data:image/png;base64,[^']+'", "''", page(copy))
    assert ADDRESS.findall(text) == []


def test_pictures_are_in_the_fixed_window(copy: Path) -> None:
    pair = middle_slice(copy, read_manifest(copy), "train", Modality.CT)
    expected = (WINDOWS[Modality.CT].normalise(pair.target) * 255).round().astype(np.uint8)
    assert any(np.array_equal(picture, expected) for picture in pictures(page(copy)))


def test_what_was_refused_is_listed_and_names_cannot_break_the_page(copy: Path) -> None:
    refused = Refusal(
        number=99,
        patient_id="<b>kim</b>",
        modality=Modality.CT,
        file="a&b<script>.dcm",
        code="empty",
        reason='holds "nothing" but <air>',
        source="0" * 64,
    )
    manifest = read_manifest(copy).model_copy(update={"refused": [refused]})
    text = page(copy, manifest)
    assert "Refused: 1 scans" in text
    assert "holds &quot;nothing&quot; but &lt;air&gt;" in text
    assert "<script" not in text
    assert "<b>kim" not in text


class Balance(HTMLParser):
    """Which tags are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_tag_is_closed(copy: Path) -> None:
    parser = Balance()
    parser.feed(page(copy).replace("/>", "></polyline>"))
    assert parser.open == []


def test_of_many_scans_some_of_each_split_are_shown(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amir.dataset.preview.MOST_SCANS", 4)
    text = page(copy)
    assert text.count("<article>") == 4
    assert "train: 6 scans, 2 of them shown" in text
    assert "test: 3 scans, 1 of them shown" in text
