"""The console in Chromium: the way in, what goes on now, one call on its time axis, a dead letter tried again.

`PAGELINE_SCREENSHOTS=folder` writes a picture of every state the test comes by, wide and narrow, light and dark.
"""

import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, Literal

import httpx
import pytest
from playwright.async_api import Page, expect

from pageline.bench.console import planted
from shared.bus import Bus
from shared.calls import facts
from shared.dead import Letter
from shared.wire import Wire
from tests.browser import PATIENCE_MS, chromium
from tests.integration.test_console import CALL, KEYS, PSID, ended, live
from tests.integration.test_ingress import serving

SOUND: Final = Path(__file__).parents[2] / "workers" / "handlers" / "sounds" / "beep.ogg"
LOOKS: Final[tuple[tuple[str, int, int, Literal["light", "dark"]], ...]] = (
    ("narrow-light", 390, 844, "light"),
    ("narrow-dark", 390, 844, "dark"),
    ("wide-dark", 1280, 800, "dark"),
    ("wide-light", 1280, 800, "light"),
)

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def web(redis_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(redis_url, PAGELINE_API_KEYS=KEYS, DATA_DIR=str(tmp_path)) as client:
        yield client


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


@pytest.fixture
async def page(web: httpx.Client) -> AsyncIterator[Page]:
    """The page as somebody sees it who is not logged in; what it must never do fails the test."""
    wrongs: list[str] = []
    async with chromium() as browser:
        context = await browser.new_context(base_url=str(web.base_url), viewport={"width": 1280, "height": 800})
        shown = await context.new_page()
        shown.set_default_timeout(PATIENCE_MS)
        shown.on("pageerror", lambda error: wrongs.append(str(error)))
        shown.on("console", lambda said: wrongs.append(said.text) if "Content Security Policy" in said.text else None)
        await shown.goto("/console")
        yield shown
        await context.close()  # a stream that is followed keeps the server from ending
    assert wrongs == []


async def log_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.keyboard.press("Enter")


async def shoot(page: Page, name: str) -> None:
    """Take pictures of a state, where somebody wants to see them; narrow ones never scroll sideways."""
    for look, width, height, scheme in LOOKS if os.environ.get("PAGELINE_SCREENSHOTS") else LOOKS[:1]:
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("PAGELINE_SCREENSHOTS"):
            await page.screenshot(path=Path(folder) / f"{name}-{look}.png", full_page=True)
    await page.set_viewport_size({"width": 1280, "height": 800})


async def test_an_operator_sees_calls_come_and_go_finds_one_and_handles_a_dead_letter(
    page: Page, bus: Bus, tmp_path: Path
) -> None:
    await shoot(page, "login")
    await log_in(page, "a guess")
    await expect(page.get_by_role("alert")).to_contain_text("no key of PAGELINE_API_KEYS")
    await log_in(page, "boss")
    await expect(page.get_by_text("Nobody is calling.")).to_be_visible()
    await expect(page.get_by_text("No call has come yet.")).to_be_visible()
    await expect(page.get_by_text("No media worker takes calls")).to_be_visible()
    await shoot(page, "empty")

    recording = tmp_path / "recordings" / "one.ogg"
    recording.parent.mkdir()
    shutil.copy(SOUND, recording)
    (old,) = await planted.plant(bus.wire, 1, seed=3, over_ms=1_000)
    await ended(bus, "c_just_now")  # the hour of the other one may be over, and is not read again then
    await bus.bury(Letter(why="action_graph", action="terminate", call_id=CALL, detail="Graph refused it."))
    await bus.bury(Letter(why="action_too_late", action="accept", call_id=CALL))
    await live(bus)
    await bus.route(CALL, facts.RecordingStarted(path=str(recording), epoch=1))
    row = page.locator("#now tr")
    await expect(row).to_contain_text("live")
    await expect(page).to_have_title("1 call · Console")
    await expect(page.locator("#workers")).to_contain_text("1 of 4")
    await expect(page.locator("body")).not_to_contain_text(PSID)
    await expect(page.locator("#letters li")).to_have_count(2)
    await shoot(page, "overview")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("#notice")).to_contain_text(f"Terminate for call {CALL} is queued")
    await expect(page.locator("#queues")).to_contain_text("other actions for Graph1")
    await page.locator("#letters li").first.get_by_role("button", name="Drop").click()
    await page.get_by_role("button", name="Drop it").click()
    await expect(page.locator("#letters li")).to_have_count(1)

    await expect(page.locator("#outcomes tr")).to_contain_text("completed")
    await expect(page.locator("#recent tr")).to_have_count(2)
    await page.keyboard.press("/")
    await page.keyboard.type(old[:9])
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("1 call was found")).to_be_visible()
    await shoot(page, "found")
    await page.locator("#calls-rows a").click()
    await expect(page.locator("#call-state")).to_have_text("completed")
    await expect(page.locator("#setup text", has_text="accept ·")).to_be_visible()
    await expect(page.locator("#whole text", has_text="terminate").first).to_be_visible()
    await expect(page.locator("#facts tr").first).to_contain_text("Arrived")
    await shoot(page, "ended")

    await page.goto(f"/console/calls/{CALL}")
    await expect(page.locator("#call-facts")).to_contain_text(PSID)
    await expect(page.locator("audio")).to_be_visible()
    assert await page.evaluate("document.querySelector('audio').play().then(() => 'plays')") == "plays"
    await page.get_by_role("button", name="End this call").click()
    await page.get_by_role("button", name="End it").click()
    await expect(page.locator("#facts")).to_contain_text("by=operator")
    await shoot(page, "call")
    await page.goto("/console/calls/c_unknown")
    await expect(page.get_by_role("heading", name="There is no such call")).to_be_visible()
    await page.goto("/console/nowhere")
    await expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    await shoot(page, "missing")
    await page.get_by_role("link", name="Go on from the front").click()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    await page.goto("/")
    await expect(page.get_by_label("API key")).to_be_visible()
    await page.goto(f"/console/calls/{CALL}")
    await log_in(page, "boss")
    await expect(page.locator("#call-facts")).to_contain_text(PSID)


async def test_who_may_only_look_is_shown_no_buttons_and_a_lost_connection_is_said(page: Page, bus: Bus) -> None:
    await live(bus)
    await bus.bury(Letter(why="action_graph", action="terminate", call_id=CALL))
    await log_in(page, "looker")
    await expect(page.locator("#letters li")).to_have_count(1)
    await expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    await page.context.set_offline(True)
    await expect(page.get_by_text("Connection lost.")).to_be_visible()
    await shoot(page, "lost")
    await page.context.set_offline(False)
    await expect(page.get_by_text("Connection lost.")).to_be_hidden()
    await bus.beat("one", lease_ms=60_000, capacity=0)
    await expect(page.locator("#workers")).to_contain_text("1 call; overloaded, takes no more for now")
    await expect(page.locator("#wrongs")).to_contain_text("takes calls: those that run are overloaded, or drain")
    await page.locator("#now a").click()
    await expect(page.locator("#call-state")).to_have_text("live")
    await expect(page.locator("#call-facts")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d (UTC|GMT|[A-Z]{2,4})"))
    await expect(page.get_by_role("button", name="End this call")).to_be_hidden()
    await expect(page.locator("body")).not_to_contain_text(PSID)
    await page.get_by_role("searchbox").fill("c_of_nobody")
    await page.keyboard.press("Enter")
    await expect(page.locator("#calls-none-what")).not_to_be_empty()
    await shoot(page, "none-found")
    await page.context.clear_cookies()  # what a session that is over looks like to the server
    await page.get_by_role("link", name="Overview").click()
    await expect(page.get_by_label("API key")).to_be_visible()
