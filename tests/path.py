"""An impaired path for real datagrams: loss, bursts, delay, jitter, overtaking and doubles, the same for one seed.

`Line` is one direction and knows no clock: tests on virtual time ask it when a packet arrives. `Relay` stands between
two ICE agents on loopback; their descriptions pass through it and name its ports instead of theirs.
"""

import asyncio
import random
import re
from dataclasses import dataclass
from typing import Any, cast

_ADDRESS = re.compile(r"(a=candidate:\S+ 1 udp \d+) (\S+) (\d+) typ host", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Weather:
    """What one direction does to packets; shares from 0 to 1."""

    loss: float = 0.0
    burst: float = 1.0  # mean number of packets lost in a row (Gilbert's model); 1: each on its own
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # evenly spread on top of the delay; keeps the order
    overtaken: float = 0.0  # share held back for so long that later ones pass
    held_back_ms: float = 50.0
    doubled: float = 0.0  # share that comes twice, the second time a little later
    double_after_ms: float = 15.0


CALM = Weather()


class Line:
    """One direction: tells when each packet arrives, how often, and whether at all."""

    def __init__(self, weather: Weather = CALM, *, seed: int = 1) -> None:
        self.weather = weather
        self.sent = self.lost = 0
        self._chance = random.Random(seed)
        self._losing = False
        self._last_s = 0.0

    def arrivals(self, sent_s: float) -> tuple[float, ...]:
        """Return when copies of the packet sent at `sent_s` arrive; none if it is lost."""
        weather, (lost, wobble, held, double) = self.weather, (self._chance.random() for _ in range(4))
        self.sent += 1
        self._losing = lost < self._likelihood(weather)
        if self._losing:
            self.lost += 1
            return ()
        arrives_s = max(self._last_s, sent_s + (weather.delay_ms + wobble * weather.jitter_ms) / 1000)
        if held < weather.overtaken:
            arrives_s += weather.held_back_ms / 1000
        else:
            self._last_s = arrives_s
        if double < weather.doubled:
            return arrives_s, arrives_s + weather.double_after_ms / 1000
        return (arrives_s,)

    def _likelihood(self, weather: Weather) -> float:
        """Return how likely the next packet is lost, so that in the end the share of `loss` is."""
        if weather.burst <= 1:
            return weather.loss
        if self._losing:
            return 1 - 1 / weather.burst
        return weather.loss / (weather.burst * (1 - weather.loss))


class _Port(asyncio.DatagramProtocol):
    """One socket of the relay: it is the agent on the other side, as this side sees it."""

    def __init__(self, line: Line, control: Line) -> None:
        self.line, self.control = line, control
        self.transport: asyncio.DatagramTransport
        self.onward: _Port
        self.peer: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()
        media, control = 128 <= data[0] < 192, len(data) > 1 and 192 <= data[1] < 224
        if not media:
            self.onward.send(data)  # ICE and DTLS pass at once: the path is judged by its sound
            return
        line = self.line
        if control:  # counted apart, for reports come when they like and would shift the fate of the sound
            line, self.control.weather = self.control, self.line.weather
        for arrives_s in line.arrivals(loop.time()):
            loop.call_at(arrives_s, self.onward.send, data)

    def send(self, data: bytes) -> None:
        """Hand a datagram to the agent on this side."""
        if self.peer is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.peer)


class Relay:
    """Stands between a caller and a callee; each direction has weather of its own, to be changed at any time."""

    def __init__(self, *, seed: int = 1) -> None:
        self.to_callee, self.to_caller = Line(seed=seed), Line(seed=seed + 1)
        self._caller = _Port(self.to_callee, Line(seed=seed + 2))
        self._callee = _Port(self.to_caller, Line(seed=seed + 3))
        self._caller.onward, self._callee.onward = self._callee, self._caller

    async def __aenter__(self) -> "Relay":
        loop = asyncio.get_running_loop()
        for port in (self._caller, self._callee):
            await loop.create_datagram_endpoint(lambda port=port: port, local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for port in (self._caller, self._callee):
            port.transport.close()

    def offer(self, sdp: str) -> str:
        """Return the caller's description as the callee is to see it."""
        return self._rewritten(sdp, self._caller, self._callee)

    def answer(self, sdp: str) -> str:
        """Return the callee's description as the caller is to see it."""
        return self._rewritten(sdp, self._callee, self._caller)

    def _rewritten(self, sdp: str, ours: _Port, theirs: _Port) -> str:
        found = _ADDRESS.search(sdp)
        assert found is not None, "a host candidate tells where to send"
        ours.peer = (found[2], int(found[3]))
        host, port = theirs.transport.get_extra_info("sockname")[:2]
        first, *others = [line for line in sdp.split("\r\n") if line.startswith("a=candidate:")]
        alone = "\r\n".join(line for line in sdp.split("\r\n") if line not in others)
        return alone.replace(first, _ADDRESS.sub(rf"\1 {host} {port} typ host", first))
