"""A headless Chromium for pages that are tested as a person meets them: the fixture ``chromium``, and ``opened``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser that is installed (CARTOON_BROWSER names another); without one, only CI does not skip its tests."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CARTOON_BROWSER") or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None and os.environ.get("CI"):
        pytest.fail("CI tests pages in a real browser: install chromium, or name one in CARTOON_BROWSER")
    if path is None:
        pytest.skip("no Chromium is installed (CARTOON_BROWSER may name one)")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, path: Path, *, dark: bool = False, width: int = 1200, height: int = 800) -> Iterator[Page]:
    """Open a file without a network; fails at the end if the page complained or asked for anything outside itself."""
    context = browser.new_context(
        offline=True, viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url))
    page.goto(path.resolve().as_uri())
    try:
        yield page
    finally:
        context.close()
    assert said == []
    assert [url for url in outside if not url.startswith(("file:", "data:", "blob:"))] == []
