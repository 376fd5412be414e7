"""Pages in the system's Chromium, without a screen; a missing browser skips the tests and says why."""

import contextlib
import os
import shutil

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: WebGL without a graphics card.
_ARGUMENTS = (
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip


def chromium():
    """Path of a Chromium, or None."""
    given = os.environ.get("CHROMIUM")
    return given or next((path for path in map(shutil.which, _NAMES) if path), None)


@contextlib.contextmanager
def launched():
    """A browser, closed at the end."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: `make browser` installs one")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened_page(browser, *, width=1280, height=800, dark=False, **options):
    """A page whose every request and error is kept, in `page.asked` and `page.errors`."""
    scheme = "dark" if dark else "light"
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    page.asked, page.errors = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
    try:
        yield page
    finally:
        page.close()


def strangers(page):
    """Requests of a page that left this machine."""
    own = ("http://127.0.0.1", "ws://127.0.0.1", "file:", "data:", "blob:", "about:")
    return [url for url in page.asked if not url.startswith(own)]
