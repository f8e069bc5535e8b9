"""A real browser: Debian's chromium, driven by Playwright."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator

import pytest

try:
    from playwright.async_api import Browser, async_playwright
except ImportError:
    async_playwright = None

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = [name for name, found in (("playwright", async_playwright), ("chromium", CHROMIUM)) if not found]


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator["Browser"]:
    """The browser, which not every machine has. Where changes are checked, it has to be there."""
    if MISSING:
        message = f"the browser's tests need {' and '.join(MISSING)}"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        try:
            yield browser
        finally:
            await browser.close()
