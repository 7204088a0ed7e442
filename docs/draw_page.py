"""The picture of the page in docs/client.md: python docs/draw_page.py LINK.

LINK: of a running service with its token in the fragment, as `make serve` prints it. Needs
chromium and playwright; the scan is one of the page's generated phantoms.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("page.png")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 300_000


def main(link: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1800, "height": 860})
        page.goto(link)
        page.click("[data-example=CT]")
        page.locator("#report").wait_for(timeout=PATIENCE_MS)
        page.locator("#stage").focus()
        page.keyboard.press("4")
        page.mouse.move(400, 420)
        page.wait_for_timeout(500)  # the last frame is drawn
        page.screenshot(path=PICTURE)
        browser.close()
    print(PICTURE)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
