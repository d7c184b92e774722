"""A Chromium at the far end of an interop call; what it does is in peers/chromium.js."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from playwright.async_api import Page

from simulator.sound import RATE_HZ, Samples, dominant_hz
from tests.browser import browser_page
from tests.interop.tones import WINDOW_S, is_tone

SCRIPT: Final = (Path(__file__).parent / "peers" / "chromium.js").read_text(encoding="utf-8")
ORIGIN: Final = "https://phone.test/"  # answered by the browser's own router; a secure context
THEIRS_HZ: Final = 1_000


class Chromium:
    """A page that holds one peer connection and says one tone."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def answer(self, offer: str) -> str:
        return str(await self._do("answer", offer))

    async def offer(self, **wishes: bool) -> str:
        return str(await self._do("offer", wishes))

    async def take(self, answer: str) -> None:
        await self._do("take", answer)

    async def mute(self, muted: bool = True) -> None:
        """Send no packet from now on, or go on with the tone."""
        await self._do("mute", muted)

    async def hush(self) -> None:
        """Say silence from now on."""
        await self.page.evaluate("phone.voice.enabled = false")

    async def close(self) -> None:
        """Hang up."""
        await self.page.evaluate("phone.pc.close()")

    async def press(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 70) -> None:
        """Press digits; return when the browser says that the last one was sent."""
        await self.page.evaluate("digits => phone.sender.dtmf.insertDTMF(...digits)", [digits, duration_ms, gap_ms])
        await self.page.wait_for_function("phone.pressed.at(-1) === ''")

    async def forget(self) -> None:
        """Let `heard` begin now."""
        await self.page.evaluate("phone.heard = []")

    async def heard(self) -> Samples:
        """Return what was heard since."""
        return np.frombuffer(str(await self.page.evaluate("phone.recording()")).encode("latin-1"), np.int16)

    async def hears(self, hz: float | None, *, within_s: float = 5) -> None:
        """Wait until that tone is heard, or silence if it is None."""
        due_s = time.monotonic() + within_s
        while time.monotonic() < due_s:
            await self.forget()
            await self.page.wait_for_function(f"phone.heard.length * 128 >= {WINDOW_S * RATE_HZ}")
            if is_tone(heard := await self.heard(), hz):
                return
        raise AssertionError(f"Chromium did not hear {hz} Hz within {within_s} s, but at last {dominant_hz(heard)}")

    async def ice_names(self) -> tuple[str, str]:
        """Return the user fragments, theirs and ours, of the path in use."""
        theirs, ours = await self.page.evaluate("phone.iceNames()")
        return theirs, ours

    async def stats(self, kind: str) -> list[dict[str, Any]]:
        """Return what `getStats` says of this type, such as `inbound-rtp`."""
        return list(await self._do("stats", kind))

    async def _do(self, what: str, argument: Any) -> Any:
        return await self.page.evaluate(f"argument => phone.{what}(argument)", argument)


@contextlib.asynccontextmanager
async def chromium(*, hz: float = THEIRS_HZ, microphone: bool = False) -> AsyncIterator[Chromium]:
    """Run a Chromium that says this tone; only one with a microphone tells its addresses, another says mDNS names."""
    async with browser_page() as page:
        if microphone:
            await page.context.grant_permissions(["microphone"], origin=ORIGIN)
        await page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        await page.goto(ORIGIN)
        await page.add_script_tag(content=SCRIPT)
        await page.mouse.click(1, 1)  # without a gesture no sound may start
        await page.evaluate("async hz => { window.phone = await Phone.ring(hz) }", hz)
        yield Chromium(page)
