"""A headless Chromium for tests; where there is none they are skipped, or fail if PAGELINE_REQUIRE_CHROMIUM is set."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page, async_playwright

_ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
PATIENCE_MS: Final = 15_000


@contextlib.asynccontextmanager
async def chromium(*arguments: str) -> AsyncIterator[Browser]:
    """A Chromium with these arguments besides."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("PAGELINE_REQUIRE_CHROMIUM"):
            pytest.fail("there is no Chromium on the PATH, and PAGELINE_REQUIRE_CHROMIUM asks for one")
        pytest.skip("there is no Chromium on the PATH")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS, *arguments])
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    """A page of a Chromium without microphone, so that it hides its addresses behind mDNS names."""
    async with chromium() as browser:
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page


def speaking(sound: Path) -> tuple[str, ...]:
    """Return the arguments of a Chromium whose microphone is a file, over and over, and is allowed to every page."""
    fakes = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    return *fakes, f"--use-file-for-fake-audio-capture={sound}"
