"""A far side that can restart ICE: stock aiortc over stock aioice, on whatever addresses, whose sockets change."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
from aioice import Candidate, Connection

from tests.integration.test_leg import LOOPBACK, Far
from workers.media.leg import Leg
from workers.media.sdp_gate import audio_terms


class Stock(Connection):
    """Stock aioice, but on the addresses it is told, which may be loopback."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        super().__init__(ice_controlling=False)
        self.addresses = addresses

    async def gather_candidates(self) -> None:
        self._local_candidates_start = True
        self._local_candidates += await self.get_component_candidates(1, list(self.addresses))
        self._local_candidates_end = True


def candidates_in(text: str) -> list[Candidate]:
    return [Candidate.from_sdp(line[12:]) for line in dict.fromkeys(text.splitlines()) if line[:12] == "a=candidate:"]


def udp_ports() -> set[int]:
    """The ports of all UDP sockets of this process."""
    return {each.laddr.port for each in psutil.Process().net_connections("udp")}


class Roamer(Far):
    """Meta's side, on a phone that changes networks."""

    def __init__(self, *, hz: float | None = None, addresses: tuple[str, ...] = LOOPBACK) -> None:
        super().__init__(hz=hz)
        self._take(Stock(addresses))
        self.ours: list[Connection] = [self.ice]

    def _take(self, ice: Stock) -> None:
        transport = self.dtls.transport
        transport.iceGatherer._connection = transport._connection = self.ice = ice
        transport._recv, transport._send = ice.recv, ice.send

    async def restart_offer(self) -> str:
        """Return the second offer again, with new ICE credentials and candidates."""
        self.coming = Stock(self.ice.addresses)
        self.ours.append(self.coming)
        await self.coming.gather_candidates()
        text = self.renegotiation(self.answer_again())
        text = re.sub(r"a=ice-ufrag:.*\r\n", f"a=ice-ufrag:{self.coming.local_username}\r\n", text)
        text = re.sub(r"a=ice-pwd:.*\r\n", f"a=ice-pwd:{self.coming.local_password}\r\n", text)
        text = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", text)
        lines = "".join(f"a=candidate:{each.to_sdp()}\r\n" for each in self.coming.local_candidates)
        return re.sub(r"(a=ice-ufrag:)", lines.replace("\\", "") + r"\1", text)

    async def take_answer(self, answer: str) -> None:
        """Connect with the leg's answer, and let the media go that way."""
        terms = audio_terms(answer)
        self.coming.remote_username, self.coming.remote_password = terms.ufrag, terms.password
        for candidate in candidates_in(answer):
            await self.coming.add_remote_candidate(candidate)
        await self.coming.add_remote_candidate(None)
        await self.coming.connect()
        old, new = self.ice, self.coming
        new._queue, old._queue = old._queue, asyncio.Queue()  # aiortc waits at this one
        new._event_waiter, old._event_waiter = old._event_waiter, None
        self._take(new)

    async def restart(self, leg: Leg) -> str:
        """Restart and return the leg's answer."""
        answer = await leg.renegotiate(await self.restart_offer())
        await self.take_answer(answer)
        return answer

    async def leave_old_network(self) -> None:
        """Close the sockets of old connections."""
        for ice in self.ours:
            if ice is not self.ice:
                await ice.close()

    async def close(self) -> None:
        await self.pc.close()
        for ice in self.ours:
            await ice.close()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening


@asynccontextmanager
async def roaming_call(far: Roamer | None = None, **options: Any) -> AsyncIterator[tuple[Leg, Roamer]]:
    """A connected call with somebody who may restart."""
    leg, far = Leg(**{"addresses": LOOPBACK, **options}), far or Roamer()
    try:
        answer = await far.answer(await leg.offer())
        await leg.apply(answer, far.renegotiation(answer))
        await leg.connected()
        await far.connected()
        yield leg, far
    finally:
        await leg.close()
        await far.close()
