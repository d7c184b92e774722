"""Bots that interrupt themselves, and consumers who hear them, as a process that prints how late the silence was, ms.

`python -m pageline.bench.bots.interruptions PROTOCOL URL GRAPH_PORT BOT_PORT CALLS SECONDS`

A bot says ten seconds of a tone at once and, a second or so later, that the consumer has begun to speak. From the
moment at which it begins to say so until the end of the last packet that can be heard, the consumer hears what nobody
means any more. Both ends are in one process, so that one clock times them.
"""

import asyncio
import base64
import sys
import time
from random import Random
from typing import Any, Final

import msgspec
import numpy as np
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from pageline.bench import graph
from pageline.bench.media.consumers import Consumers
from pageline.bench.media.datagrams import listen
from pageline.bench.media.delay import LOUD_ENOUGH, Timed
from pageline.bench.media.exchange import Exchange
from pageline.bench.media.heard import came_back
from pageline.bench.media.orders import Ring
from pageline.bench.media.secured import Identity
from pageline.bench.media.wheel import Wheel
from shared.streams.g711 import MU_LAW

CALLS_PER_S: Final = 5.0
SAYS_S: Final = 10.0
WITHIN_S: Final = (0.8, 1.6)
PAUSES_S: Final = 0.6
TONE_HZ: Final = 500
HZ: Final = 8000
PACKET_MS: Final = 20.0

TONE: Final = base64.b64encode(
    MU_LAW.encode((9000 * np.sin(2 * np.pi * TONE_HZ * np.arange(int(SAYS_S * HZ)) / HZ)).astype(np.int16))
).decode()


class Bots:
    """One for each connection; when each fell silent, Unix ns, by the order in which they connected."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self.silenced_ns: list[list[int]] = []
        self.another = asyncio.Event()

    async def behave(self, socket: ServerConnection) -> None:
        """Speak and fall silent, again and again."""
        silenced: list[int] = []
        self.silenced_ns.append(silenced)
        self.another.set()
        chance = Random(len(self.silenced_ns))
        reading = asyncio.create_task(_ignore(socket))
        try:
            for number in range(sys.maxsize):
                await socket.send(self._speech(number))
                await asyncio.sleep(chance.uniform(*WITHIN_S))
                silenced.append(time.time_ns())
                await socket.send(self._interruption())
                await asyncio.sleep(PAUSES_S)
        finally:
            reading.cancel()

    def _speech(self, number: int) -> bytes:
        if self._protocol == "twilio":
            return _json(event="media", media={"payload": TONE})
        return _json(type="response.output_audio.delta", item_id=f"i_{number}", content_index=0, delta=TONE)

    def _interruption(self) -> bytes:
        return _json(event="clear") if self._protocol == "twilio" else _json(type="input_audio_buffer.speech_started")


def silent_after_ms(silenced_ns: list[int], heard: list[Timed]) -> list[float]:
    """Return for each interruption how long sound was heard after it."""
    loud_ns = [packet.at_ns for packet in heard if float(np.sqrt(np.mean(packet.sound**2))) > LOUD_ENOUGH]
    delays_ms = []
    for at_ns in silenced_ns:
        around = [loud for loud in loud_ns if at_ns - 1e9 < loud < at_ns + PAUSES_S * 1e9]
        if around and around[0] < at_ns:  # else nothing was there to be interrupted
            delays_ms.append(max(0.0, (around[-1] - at_ns) / 1e6 + PACKET_MS))
    return delays_ms


async def talk(protocol: str, url: str, graph_port: int, bot_port: int, calls: int, seconds: float) -> list[float]:
    """Let so many bots be interrupted for so long."""
    bots = Bots(protocol)
    bound = listen("127.0.0.1")
    wheel = Wheel(bound)
    exchange = Exchange(Identity(), bound.getsockname()[1], wheel)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: graph.GraphConnection(exchange), "127.0.0.1", graph_port)
    turning = asyncio.create_task(wheel.run())
    loop.add_reader(bound, wheel.read)  # at once, not with the wheel's next turn
    delays_ms: list[float] = []
    async with serve(bots.behave, "127.0.0.1", bot_port, compression=None):
        consumers = Consumers(url, bound, exchange, wheel)
        for _ in range(calls):  # one after the other: the bots are numbered by it
            bots.another.clear()
            await consumers.ring(Ring(1, CALLS_PER_S))
            await bots.another.wait()
        ends = list(exchange.calls)
        for end in ends:
            wheel.kept[end.number] = []
        await asyncio.sleep(seconds)
        for end, silenced_ns in zip(ends, bots.silenced_ns, strict=True):
            heard = came_back(end, wheel.kept.pop(end.number))
            delays_ms += silent_after_ms([at for at in silenced_ns if at / 1e9 < time.time() - PAUSES_S], heard)
    turning.cancel()
    server.close()
    return delays_ms


async def _ignore(socket: ServerConnection) -> None:
    async for _ in socket:
        pass


def _json(**body: Any) -> bytes:
    return msgspec.json.encode(body)


if __name__ == "__main__":
    _, protocol_, url_, graph_port_, bot_port_, calls_, seconds_ = sys.argv
    told_ = uvloop.run(talk(protocol_, url_, int(graph_port_), int(bot_port_), int(calls_), float(seconds_)))
    sys.stdout.buffer.write(msgspec.json.encode(told_) + b"\n")
