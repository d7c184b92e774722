"""The desk's page in Chromium: a consumer's browser calls, agents answer by the keyboard, and the tones are measured.

`PAGELINE_SCREENSHOTS=folder` writes a picture of every state the test comes by, wide and narrow, light and dark.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import numpy as np
import pytest
from playwright.async_api import Browser, Page, expect

from shared.calls import agent_facts
from tests.acceptance.line import PIPELINE, Line, write_tone
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import RATE_HZ
from tests.browser import PATIENCE_MS, browser_page, chromium, speaking

DESK: Final = "108812345678932"
MUSIC_HZ, CALLER_HZ, AGENT_HZ = 330, 620, 800
EARS: Final = Path(__file__).with_name("ears.js").read_text()
STAFF: Final = {
    "ada": ("--queue", "sales"),
    "bob": ("--queue", "support"),
    "sue": ("--queue", "sales", "--supervisor"),
}
LOOKS: Final[tuple[tuple[str, int, int, Literal["light", "dark"]], ...]] = (
    ("narrow-light", 390, 844, "light"),
    ("narrow-dark", 390, 844, "dark"),
    ("wide-dark", 1280, 800, "dark"),
    ("wide-light", 1280, 800, "light"),
)

expect.set_options(timeout=PATIENCE_MS)


class Known:
    """A call, by its id."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def line(simulated: SimulatedMeta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Line(tmp_path_factory.mktemp("page"), simulated, DESK_QUEUE="sales", DESK_MUSIC="music.wav") as running:
        with (running.home / "pages.toml").open("a") as tables:
            tables.write(f'[{DESK}]\ntoken = "x"\nhandler = "workers.handlers.desk:answer"\n')
        write_tone(running.home / "music.wav", hz=MUSIC_HZ, seconds=2)
        write_syllables(running.home / "agent.wav", hz=AGENT_HZ)
        running.processes["sim"] = simulated.start(running.home, "--page", DESK)
        running.start(*PIPELINE)
        yield running.await_ready()


def write_syllables(path: Path, *, hz: int) -> None:
    """Write a tone that comes and goes: a steady one is noise to a browser, which takes it out."""
    at = np.arange(2 * RATE_HZ) / RATE_HZ
    samples = 12_000 * np.sin(2 * np.pi * hz * at) * (at % 0.4 < 0.25)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture(scope="module")
def passwords(line: Line) -> dict[str, str]:
    """The agents of the desk, and their passwords."""

    def make(name: str) -> str:
        command = [sys.executable, "-m", "pageline", "agents", "add", name, *STAFF[name], "--json"]
        made = subprocess.run(command, env=line.settings, cwd=line.home, capture_output=True, check=True, timeout=20)
        return str(json.loads(made.stdout)["password"])

    with ThreadPoolExecutor() as several:
        return dict(zip(STAFF, several.map(make, STAFF), strict=True))


@contextlib.asynccontextmanager
async def at_the_door(browser: Browser, line: Line) -> AsyncIterator[Page]:
    """The page as somebody sees it who is not logged in; what it must never do fails the test."""
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrongs: list[str] = []
    page.on("pageerror", lambda error: wrongs.append(str(error)))
    page.on("console", lambda said: wrongs.append(said.text) if "Content Security Policy" in said.text else None)
    await page.goto(f"{line.base}/desk")
    yield page
    assert wrongs == []
    await context.close()


async def log_in(page: Page, name: str, password: str) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.keyboard.press("Enter")


@contextlib.asynccontextmanager
async def seated(browser: Browser, line: Line, name: str, password: str) -> AsyncIterator[Page]:
    """An agent's page, logged in and away."""
    async with at_the_door(browser, line) as page:
        await log_in(page, name, password)
        await expect(page.get_by_role("heading", name="You are away")).to_be_visible()
        yield page


async def ready(page: Page) -> None:
    await page.keyboard.press("r")
    await expect(page.get_by_role("heading", name="You are ready")).to_be_visible()


async def hears(page: Page, *tones_hz: int) -> None:
    """Wait until a page plays these tones and nothing louder, or silence if there are none."""
    heard: dict[str, Any] = await page.evaluate(EARS, {"tones": tones_hz, "withinMs": PATIENCE_MS})
    assert heard["found"], f"wanted {tones_hz} Hz, heard {heard}"


async def shoot(page: Page, name: str) -> None:
    """Take pictures of a state, where somebody wants to see them."""
    folder = os.environ.get("PAGELINE_SCREENSHOTS")
    if not folder:
        return
    for look, width, height, scheme in LOOKS:
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=scheme)
        await page.screenshot(path=Path(folder) / f"{name}-{look}.png")


async def test_a_call_is_answered_held_listened_to_and_transferred_by_the_keyboard(
    line: Line, simulated: SimulatedMeta, passwords: dict[str, str]
) -> None:
    async with (
        browser_page() as caller,
        chromium(*speaking(line.home / "agent.wav")) as browser,
        seated(browser, line, "ada", passwords["ada"]) as ada,
        seated(browser, line, "bob", passwords["bob"]) as bob,
        seated(browser, line, "sue", passwords["sue"]) as sue,
    ):
        await shoot(ada, "away")
        await ready(ada)
        await ready(bob)
        await shoot(ada, "ready")
        await caller.goto(f"{simulated.url}/?tone={CALLER_HZ}")
        await caller.get_by_role("button", name="Call").click()
        await expect(ada.get_by_role("heading", name="Caller …1834")).to_be_visible()
        await expect(ada).to_have_title("☎ Caller …1834 waits 0:01 · Desk")
        await expect(ada.locator("#announcer")).to_have_text("Caller …1834, sales is waiting. Press A to answer.")
        await expect(bob.get_by_role("heading", name="You are ready")).to_be_visible()
        await shoot(ada, "ringing")
        await hears(caller, MUSIC_HZ)
        await ada.keyboard.press("a")
        await expect(ada.locator("#call-what")).to_have_text("Connected")
        await asyncio.gather(hears(caller, AGENT_HZ), hears(ada, CALLER_HZ))
        await shoot(ada, "live")

        await ada.keyboard.press("n")
        await ada.keyboard.type("The mat has the blue one.")  # every letter of it is a key of the desk, or could be
        await ada.keyboard.press("Control+Enter")
        await expect(ada.get_by_text("Saved", exact=True)).to_be_visible()
        await ada.keyboard.press("Escape")
        await expect(ada.locator("#call-what")).to_have_text("Connected")
        call = Known(await caller.evaluate("window.pageline.callId()"))
        note = await asyncio.to_thread(line.await_fact, call, agent_facts.NoteWritten)
        assert note.text == "The mat has the blue one."

        await ada.keyboard.press("m")
        await expect(ada.get_by_text("You are muted.")).to_be_visible()
        await shoot(ada, "muted")
        await hears(caller)
        await ada.keyboard.press("m")
        await ada.keyboard.press("h")
        await expect(ada.locator("#call-what")).to_have_text("On hold")
        await shoot(ada, "held")
        await asyncio.gather(hears(caller, MUSIC_HZ), hears(ada))
        await ada.keyboard.press("h")
        await expect(ada.locator("#call-what")).to_have_text("Connected")

        await shoot(sue, "supervisor")
        await sue.get_by_role("button", name="Listen in to ada").click()
        await expect(sue.get_by_text("They do not hear you")).to_be_visible()
        await asyncio.gather(hears(sue, CALLER_HZ, AGENT_HZ), hears(caller, AGENT_HZ), hears(ada, CALLER_HZ))
        await shoot(sue, "listening")
        await sue.keyboard.press("e")
        await expect(sue.get_by_role("heading", name="You are away")).to_be_visible()

        await ada.context.set_offline(True)
        await expect(ada.get_by_text("No connection to the desk.")).to_be_visible()
        await expect(ada.get_by_role("button", name="Hold")).to_be_disabled()
        await shoot(ada, "desk-lost")
        await hears(caller, AGENT_HZ)
        await ada.context.set_offline(False)
        await expect(ada.get_by_role("button", name="Hold")).to_be_enabled()

        await ada.keyboard.press("t")
        await expect(ada.get_by_role("button", name="bob")).to_be_focused()
        await shoot(ada, "transfer")
        await ada.keyboard.press("1")
        await expect(ada.get_by_role("heading", name="The call was transferred")).to_be_visible()
        await shoot(ada, "ended")
        await expect(bob.get_by_text("Transferred to you")).to_be_visible()
        await shoot(bob, "transferred-to-you")
        await hears(caller, MUSIC_HZ)
        await bob.keyboard.press("a")
        await asyncio.gather(hears(caller, AGENT_HZ), hears(bob, CALLER_HZ))
        await bob.keyboard.press("e")
        await expect(bob.get_by_role("heading", name="You ended the call")).to_be_visible()
        await expect(caller.get_by_text("The line hung up")).to_be_visible()


async def test_the_page_says_why_nobody_gets_in_and_what_a_missing_microphone_takes(
    line: Line, passwords: dict[str, str]
) -> None:
    async with chromium() as browser, at_the_door(browser, line) as page:
        await shoot(page, "login")
        await log_in(page, "ada", "a guess")
        await expect(page.get_by_role("alert")).to_contain_text("wrong")
        await shoot(page, "login-wrong")
        await log_in(page, "ada", passwords["ada"])
        await page.get_by_role("button", name="Take calls").click()
        await expect(page.get_by_role("heading", name="No microphone was found")).to_be_visible()
        await expect(page.get_by_role("listitem").first).to_contain_text("Plug in a headset")
        await expect(page.get_by_role("button", name="Away")).to_be_visible()
        await shoot(page, "no-microphone")
        async with seated(browser, line, "ada", passwords["ada"]):
            async with httpx.AsyncClient(base_url=line.base) as client:
                guess = {"name": "ada", "password": "a guess"}
                refused = await asyncio.gather(*(client.post("/desk/login", data=guess) for _ in range(11)))
            assert 429 in [each.status_code for each in refused]
            await expect(page.get_by_role("heading", name="Your desk is open in another window")).to_be_visible()
            await shoot(page, "elsewhere")
        async with at_the_door(browser, line) as other:
            await log_in(other, "ada", passwords["ada"])
            await expect(other.get_by_role("alert")).to_contain_text("Too many tries")
            await shoot(other, "login-too-many-tries")
