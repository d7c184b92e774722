"""Our end of an interop call: a leg and its sound, ticking as in a worker, that says one tone and measures another."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from itertools import cycle
from typing import Any, Final, Protocol

import numpy as np

from shared.handling import Frame
from simulator.sound import FRAME_SAMPLES, RATE_HZ, Samples, dominant_hz, tone
from tests.interop.tones import WINDOW_S, is_tone
from workers.media.host import Ear
from workers.media.leg import Leg
from workers.media.live_call import LiveCall
from workers.media.ticker import Ticker

LOOPBACK: Final = ("127.0.0.1",)
OURS_HZ: Final = 700
QUIET: Final = 1_500
"""A tone is said at 8,191 of 32,767; a frame that stays below this has lost most of it."""


class Peer(Protocol):
    """A far end that nobody here wrote; its descriptions are complete, candidates included."""

    async def answer(self, offer: str) -> str:
        """Take our offer; return the answer."""

    async def offer(self, **wishes: bool) -> str:
        """Return a later offer; one with `restart` restarts ICE, one with `video` has such a section more."""

    async def take(self, answer: str) -> None:
        """Take our answer to that offer."""


class Line:
    """One call of ours; says `OURS_HZ` from the first tick to the last unless `speaking` is set to False."""

    def __init__(self, **options: Any) -> None:
        self.leg = Leg(addresses=LOOPBACK, **options)
        self.call = LiveCall(self.leg)
        self.call.add_ear(Ear(), 48_000)
        self.digits: list[str] = []
        self.speaking = True
        self.ended: list[str] = []
        self.answer = ""  # the peer's, as it came
        self.leg.on_ended = self.ended.append
        self.leg.on_digit = lambda digit: self.digits.append(digit.name)
        self._words = cycle(np.split(tone(OURS_HZ), RATE_HZ * 2 // FRAME_SAMPLES))
        self._heard: list[Samples] = []
        self._ticker = Ticker(self._tick, frozen_after_ms=60_000, on_frozen=lambda: None)

    def _tick(self) -> None:
        if self.speaking and self.leg.live and not self.call.outbound:
            self.call.outbound.put(Frame(next(self._words).tobytes()))
        harvest: list[tuple[Ear, Frame]] = []
        self.call.tick(harvest)
        self._heard += [np.frombuffer(frame.pcm, np.int16) for _, frame in harvest]

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Move sound every 20 ms; at the end close the leg."""
        task = asyncio.create_task(self._ticker.run())
        try:
            yield
        finally:
            task.cancel()
            await self.leg.close()
            with contextlib.suppress(asyncio.CancelledError):
                await task  # a tick that failed is why whatever else did

    async def listen(self, seconds: float) -> Samples:
        """Return what is heard from now on, for so long."""
        self._heard.clear()
        async with asyncio.timeout(seconds + 5):
            while len(self._heard) * FRAME_SAMPLES < seconds * RATE_HZ:  # noqa: ASYNC110  # a tick has no event
                await asyncio.sleep(0.02)
        return np.concatenate(self._heard)

    async def hears(self, hz: float, *, within_s: float = 5) -> None:
        """Wait until half a second of that tone is heard and nothing louder."""
        due_s = time.monotonic() + within_s
        while time.monotonic() < due_s:
            if is_tone(heard := await self.listen(WINDOW_S), hz):
                return
        raise AssertionError(f"{hz} Hz was not heard within {within_s} s, but at last {dominant_hz(heard)}")

    def gaps(self) -> int:
        """Return how many frames since the last `listen` began had lost the tone."""
        return sum(int(np.abs(frame).max()) < QUIET for frame in self._heard)

    async def renegotiate(self, peer: Peer, **wishes: bool) -> str:
        """Let the peer make a later offer, give it our answer, and return that."""
        answer = await self.leg.renegotiate(await peer.offer(**wishes))
        await peer.take(answer)
        return answer


@contextlib.asynccontextmanager
async def called(peer: Peer, **options: Any) -> AsyncIterator[Line]:
    """Hold a call in which our offer was answered by the peer and both are connected."""
    line = Line(**options)
    async with line.ticking():
        line.answer = await peer.answer(await line.leg.offer())
        await line.leg.apply(line.answer, None)
        await line.leg.connected()
        yield line
