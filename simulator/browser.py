"""The browser as the consumer's phone: it is told about the call by server-sent events and answers by POST."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from simulator.calls import EndedBy, Heard
from simulator.picture import Seen


class Report(msgspec.Struct, kw_only=True):
    """What the page tells from time to time."""

    connected: bool = False
    gone: bool = False
    heard: Heard | None = None


class BrowserPhone:
    """A consumer's device whose WebRTC lives in a page."""

    pressed = ""
    seen = Seen()

    def __init__(self, answer_timeout_s: float) -> None:
        self.connected = asyncio.Event()
        self.gone = asyncio.Event()
        self._answer_timeout_s = answer_timeout_s
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._heard = Heard()
        self._events: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    async def answer(self, offer: str) -> str:
        """Hands the offer to the page and waits for its answer."""
        self._tell({"type": "offer", "sdp": offer})
        async with asyncio.timeout(self._answer_timeout_s):
            return await asyncio.shield(self._answer)

    def pick_up(self) -> None:
        """Does nothing: whoever calls from a page holds the phone."""

    def answered(self, sdp: str) -> None:
        """Takes the page's answer; only the first counts."""
        if not self._answer.done():
            self._answer.set_result(sdp)

    def report(self, report: Report) -> None:
        """Takes what the page saw and heard."""
        if report.connected:
            self.connected.set()
        if report.gone:
            self.gone.set()
        if report.heard is not None:
            self._heard = report.heard

    async def heard(self) -> Heard:
        """Tells what the page last reported."""
        return self._heard

    async def close(self, ended_by: EndedBy) -> None:
        """Tells the page that the call is over, and why."""
        self._tell({"type": "ended", "by": ended_by})

    def recording(self) -> bytes | None:
        """Returns None: a page records nothing."""
        return None

    def picture(self) -> bytes | None:
        """Returns None: a page keeps nothing."""
        return None

    async def events(self, after: int) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Yields what the page must know, from number `after` on, to the end of the call."""
        while True:
            self._news.clear()
            while after < len(self._events):
                event = self._events[after]
                after += 1
                yield after, event
                if event["type"] == "ended":
                    return
            await self._news.wait()

    def _tell(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._news.set()
