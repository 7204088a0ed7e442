"""The page at / in a real browser, on the real application around a network that brightens."""

from __future__ import annotations

import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from amir.imaging import read_scan, write_new_series, write_scan
from amir.modality import Modality
from amir.phantoms import phantom_scan
from serve.routes.page import WEB
from tests.serve.conftest import TOKEN, running_app
from tests.served_networks import Brightened, engine_of

pytestmark = pytest.mark.system("chromium")

BRIGHTER = 0.02  # of the range of CT: 82 HU
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
# Under the page's policy a script in a string is refused, so pixels are read by a function.
MEAN_GREY = """(number) => {
    const canvas = document.querySelectorAll(".panel canvas")[number];
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const sums = [0, 0, 0];
    for (let place = 0; place < data.length; place += 4) {
        for (const channel of [0, 1, 2]) sums[channel] += data[place + channel];
    }
    return sums.map((sum) => sum / (data.length / 4));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory, free_port):
    folder = tmp_path_factory.mktemp("page") / "uploads"
    settings = {
        "limits": {"decode_processes": 1},
        "rate": {"requests_per_minute": 60_000, "burst": 1000},
    }
    with running_app(folder, free_port(), engine_of(Brightened(BRIGHTER)), **settings) as app:
        yield app


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """ct.zip and ct/, a series; mr.nii.gz, a volume whose axes are not those of RAS."""
    folder = tmp_path_factory.mktemp("scans")
    write_new_series(phantom_scan(Modality.CT, 1, size=48, slices=6), folder / "ct", patient_id="p")
    with zipfile.ZipFile(folder / "ct.zip", "w") as archive:
        for file in sorted((folder / "ct").iterdir()):
            archive.write(file, file.name)
    write_scan(phantom_scan(Modality.MRI, 2, size=40, slices=6), folder / "mr.nii.gz")
    return folder


@pytest.fixture
def opened(browser: Browser, service) -> Iterator[Callable[..., Page]]:
    """Opens the page with a token and holds it to a clean console and its own origin."""
    pages: list[Page] = []
    complaints: list[str] = []

    def open_page(*, token: str | None = TOKEN, **viewport: int) -> Page:
        size = {"width": 1280, "height": 800, **viewport}
        page = browser.new_page(viewport=size)  # type: ignore[arg-type]
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text))
        page.on("request", lambda request: check_origin(request.url))
        pages.append(page)
        page.goto(f"{service.url}/" + (f"#token={token}" if token else ""))
        return page

    def check_origin(url: str) -> None:
        if not url.startswith((service.url, "blob:", "data:")):
            complaints.append(url)

    yield open_page
    for page in pages:
        page.context.close()
    # Chromium's lines for each answer of 400 and above, and for this test's reading of pixels.
    expected = ("Failed to load resource", "Canvas2D: Multiple readback")
    assert [text for text in complaints if not text.startswith(expected)] == []


def restored(page: Page, *files: Path, modality: str = "") -> Page:
    """The page once the files are restored and shown."""
    entries = page.locator("#studies li")
    before = entries.count()
    page.set_input_files("#files", [str(file) for file in files])
    if modality:
        page.click(f"#kind-dialog button[value={modality}]")
    expect(entries).to_have_count(before + 1)
    expect(entries.first.locator("button")).to_have_class("done", timeout=90_000)
    expect(page.locator("#report")).to_be_visible()
    wait_for(lambda: page.locator(".veil").count() == 0)
    return page


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def mean(page: Page, panel: int) -> list[float]:
    colours: list[float] = page.evaluate(MEAN_GREY, panel)
    return colours


def readings(page: Page) -> dict[str, str]:
    names = page.locator("#readout dt").all_inner_texts()
    values = page.locator("#readout dd").all_inner_texts()
    return {name.lower(): value for name, value in zip(names, values, strict=True)}


def test_a_zipped_series_is_seen_before_and_after(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    expect(page.locator(".panel .left")).to_have_text(["Degraded", "Restored"])
    expect(page.locator("#preset option").first).to_have_text("Soft tissue")
    wait_for(lambda: mean(page, 1)[0] > mean(page, 0)[0] + 3)
    expect(page.locator("#report")).to_contain_text("CT denoising")
    assert len(page.screenshot()) > 20_000


def test_one_slider_moves_both_images(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    before = mean(page, 0), mean(page, 1)
    page.locator("#slice").fill("0")
    expect(page.locator("#slice-value")).to_have_text("1 / 6")
    wait_for(lambda: mean(page, 0) != before[0] and mean(page, 1) != before[1])
    for number in (0, 1):
        label = page.locator(".panel canvas").nth(number).get_attribute("aria-label")
        assert label.endswith("axial slice 1 of 6")


def test_several_dicom_files_are_one_series(opened, scans):
    page = restored(opened(), *sorted((scans / "ct").iterdir()))
    expect(page.locator("#slice-value")).to_have_text("4 / 6")
    expect(page.locator("#studies li")).to_have_count(1)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_voxel_under_the_pointer_is_the_file_s(opened, scans, plane):
    page = restored(opened(), scans / "mr.nii.gz", modality="MRI")
    page.check(f"input[value={plane}]", force=True)
    volume = nibabel.as_closest_canonical(nibabel.load(scans / "mr.nii.gz")).get_fdata()
    box = page.locator(".panel canvas").first.bounding_box()
    for across, down in ((0.5, 0.5), (0.42, 0.47), (0.6, 0.55)):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        wait_for(lambda: "degraded" in readings(page))
        time.sleep(0.05)  # one frame later
        shown = readings(page)
        voxel = tuple(int(index) - 1 for index in shown["voxel"].split(","))
        expected = volume[voxel]
        assert float(shown["degraded"].split()[0]) == pytest.approx(expected, abs=0.6)


def test_the_right_of_the_patient_is_on_the_left(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    box = page.locator(".panel canvas").first.bounding_box()

    def millimetres_right(across: float) -> float:
        page.mouse.move(box["x"] + across * box["width"], box["y"] + box["height"] / 2)
        time.sleep(0.1)
        return float(readings(page)["right, front, up"].split(",")[0])

    assert millimetres_right(0.3) > 0 > millimetres_right(0.7)


def test_the_difference_is_a_map_with_its_range_in_words(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    page.check("input[value=difference]", force=True)
    expect(page.locator("#legend")).to_contain_text("orange is brighter")
    expect(page.locator("#legend")).to_contain_text("±100 HU")
    red, _, blue = mean(page, 1)
    assert red > blue + 20  # everything became brighter


def test_it_is_used_by_keyboard_alone_and_keys_can_be_switched_off(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    page.locator("#stage").focus()
    for key in ("2", "ArrowRight", "ArrowUp", "+", "s"):
        page.keyboard.press(key)
    expect(page.locator("#wipe-value")).to_have_text("52 %")
    expect(page.locator("input[value=sagittal]")).to_be_checked()
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    time.sleep(0.1)
    expect(page.locator("input[value=sagittal]")).to_be_checked()


def test_the_window_is_set_by_preset_and_by_number(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    dark = mean(page, 0)[0]
    page.select_option("#preset", label="Lung")
    expect(page.locator("#level")).to_have_value("-600")
    wait_for(lambda: mean(page, 0)[0] > dark + 10)
    page.fill("#level", "3000")
    page.press("#level", "Enter")
    wait_for(lambda: mean(page, 0)[0] < dark)
    expect(page.locator("#preset")).to_have_value("own")


def test_the_restored_file_is_downloaded_in_its_format(opened, scans, tmp_path):
    page = restored(opened(), scans / "mr.nii.gz", modality="MRI")
    with page.expect_download() as caught:
        page.click("#download")
    assert caught.value.suggested_filename == "mr_restored.nii.gz"
    caught.value.save_as(tmp_path / "back.nii.gz")
    before, after = (
        read_scan(path, modality=Modality.MRI).voxels
        for path in (scans / "mr.nii.gz", tmp_path / "back.nii.gz")
    )
    assert np.mean(after - before) > 10


def test_a_bad_file_is_explained_with_its_code(opened, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    page = opened()
    page.set_input_files("#files", str(tmp_path / "broken.zip"))
    expect(page.locator("#failure-code")).to_have_text("unreadable", timeout=20_000)
    expect(page.locator("#failure-detail")).to_contain_text("zip it again")
    expect(page.locator("#failure-detail")).to_contain_text("roken.zip is not")
    expect(page.locator("#studies .failed")).to_have_count(1)


def test_the_token_leaves_the_address_and_is_asked_for_when_missing(opened, scans):
    page = opened()
    assert page.evaluate("() => location.href").endswith("/")
    other = opened(token=None)
    expect(other.locator("#token-dialog")).to_be_visible()
    other.fill("#token", TOKEN)
    other.press("#token", "Enter")
    restored(other, scans / "ct.zip")


def test_the_studies_of_a_tab_are_there_after_loading_again(opened, scans):
    page = restored(opened(), scans / "ct.zip")
    restored(page, scans / "mr.nii.gz", modality="MRI")
    page.reload()
    expect(page.locator("#studies .name")).to_have_text(["mr.nii.gz", "ct.zip"])
    expect(page.locator("#studies .done")).to_have_count(2, timeout=20_000)
    page.click("#forget")
    expect(page.locator("#studies .name")).to_have_text(["ct.zip"])


def test_an_example_needs_no_file(opened):
    page = opened()
    page.click("[data-example=CT]")
    expect(page.locator("#report")).to_be_visible(timeout=40_000)
    expect(page.locator("#studies .name")).to_have_text(["Phantom abdomen"])


def test_it_opens_at_once_and_to_all(opened, service):
    page = opened()
    loaded = page.evaluate("() => performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert loaded < 3000  # measured: well below a second on an idle machine
    for path in ("/", "/static/main.js", "/static/style.css"):
        answer = httpx.get(f"{service.url}{path}")
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for path in ("/static/none.js", "/static/..%2fproblems.py", "/static/../problems.py"):
        assert httpx.get(f"{service.url}{path}").status_code == 404
    assert httpx.get(f"{service.url}/examples/ct.nii.gz").status_code == 401


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_real_scans_are_seen_before_and_after(opened, real_scans, tmp_path):
    archive = tmp_path / "abdomen.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((real_scans / "ct" / "sub-c02_abdomen_dicom").iterdir()):
            file.write(path, path.name)
    page = restored(opened(), archive)
    expect(page.locator("#slice-value")).to_have_text("17 / 32")
    wait_for(lambda: mean(page, 1)[0] > mean(page, 0)[0] + 3)
    page = restored(opened(), real_scans / "mri" / "sub-m01_T1w.nii.gz", modality="MRI")
    expect(page.locator("#slice-value")).to_have_text("47 / 92")
    series = sorted((real_scans / "pet" / "sub-p01_wholebodyFDG_dicom").iterdir())
    page = restored(opened(), *series)
    expect(page.locator("input[value=coronal]")).to_be_checked()


@pytest.mark.parametrize("width", [390, 800])
def test_it_fits_a_phone_and_a_narrow_window(opened, scans, width):
    page = opened(width=width, height=844)
    page.click(".options summary")
    page.select_option("#uncertainty", "1")
    restored(page, scans / "ct.zip")
    for mode in ("sides", "wipe", "flip", "difference", "uncertainty"):
        page.check(f"input[value={mode}]", force=True)
        page.locator(".panel canvas").first.hover()
        wait_for(lambda: "uncertainty" in readings(page))
        assert page.evaluate("() => document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("state", ["empty", "restored", "failed", "help"])
def test_axe_finds_nothing(opened, scans, tmp_path, state):
    if "AMIR_AXE" not in os.environ:
        pytest.skip("axe: set AMIR_AXE to the axe.min.js of npm's axe-core")
    page = opened()
    if state == "restored":
        restored(page, scans / "ct.zip")
    if state == "failed":
        (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
        page.set_input_files("#files", str(tmp_path / "broken.zip"))
        expect(page.locator("#failure")).to_be_visible(timeout=20_000)
    if state == "help":
        page.click("#open-help")
    page.evaluate(Path(os.environ["AMIR_AXE"]).read_text())
    found: dict[str, Any] = page.evaluate("() => axe.run()")
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]] == []


def test_every_module_is_fetched_at_once():
    head = (WEB / "index.html").read_text().split("</head>")[0]
    modules = {path.name for path in WEB.glob("*.js")}
    assert set(re.findall(r'href="static/([^"]+\.js)"', head)) == modules - {"main.js"}
