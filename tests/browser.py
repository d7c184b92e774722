"""A headless Chromium for tests; where there is none they are skipped, or fail if PAGELINE_REQUIRE_CHROMIUM is set."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright


@contextlib.asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    """A page of a Chromium without microphone, so that it hides its addresses behind mDNS names."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("PAGELINE_REQUIRE_CHROMIUM"):
            pytest.fail("there is no Chromium on the PATH, and PAGELINE_REQUIRE_CHROMIUM asks for one")
        pytest.skip("there is no Chromium on the PATH")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        page = await browser.new_page()
        page.set_default_timeout(15_000)
        yield page
        await browser.close()
