"""Rings, hosts the Graph, and is the far end of every call: all that Meta and its consumers are to a stack.

A process of its own, told what to do by lines of JSON on stdin (`orders`): `python -m pageline.bench.media.consumers
WEBHOOK_URL GRAPH_PORT`. It shares the machine with what it loads, so its packets are carried many at a time, and it
says how late it was itself.
"""

import asyncio
import gc
import socket
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import psutil
import uvloop

from pageline.bench import events, graph
from pageline.bench.caller import Poster
from pageline.bench.figures import percentile
from pageline.bench.media.arrivals import PACKETS_PER_S, Arrivals
from pageline.bench.media.datagrams import listen
from pageline.bench.media.delay import echo_delays_ms, first_sound_ns
from pageline.bench.media.exchange import Exchange
from pageline.bench.media.far_end import FarEnd
from pageline.bench.media.heard import came_back, was_sent
from pageline.bench.media.orders import Figures, Greet, Greeted, HangUp, Measure, Ring, Rung, order_of
from pageline.bench.media.secured import Identity
from pageline.bench.media.wheel import Losses, Wheel
from pageline.bench.processes import cpu_s

CONNECTED_WITHIN_S: Final = 10.0
LISTENER_PAUSE_PACKETS: Final = 20
AFTER_HANG_UP_S: Final = 0.5
GREETED_FOR_S: Final = 0.5
"""From being connected on."""


class Consumers:
    """All of them, as one is told to let them act."""

    def __init__(self, url: str, bound: socket.socket, exchange: Exchange, wheel: Wheel) -> None:
        self._url = url
        self._bound = bound
        self._exchange = exchange
        self._wheel = wheel
        self._poster: Poster | None = None
        self._prefix = f"c_media_{time.time_ns()}"

    async def ring(self, order: Ring) -> Rung:
        """Let consumers call at a steady rate."""
        pace, waiting = Pace(order.per_s), []
        for _ in range(order.calls):
            await pace.next()
            far_end = self._exchange.new(self._prefix, expected_loss_percent=order.expected_loss_percent)
            far_end.pause_packets = 1 if order.speak else LISTENER_PAUSE_PACKETS
            if order.loss is not None:
                self._wheel.losses[far_end.number] = Losses(order.loss, far_end.number)
            await self._post(events.connect(far_end.call_id))
            waiting.append(asyncio.create_task(self._until_connected(far_end)))
        there = [far_end.call_id for far_end in await asyncio.gather(*waiting) if far_end.connected]
        return Rung(order.calls, len(there), there)

    async def greet(self, order: Greet) -> Greeted:
        """Let consumers call who only want to hear something."""
        pace, waiting = Pace(order.per_s), []
        loop = asyncio.get_running_loop()
        loop.add_reader(self._bound, self._wheel.read)  # at once, not with the wheel's next turn
        for _ in range(order.calls):
            await pace.next()
            waiting.append(asyncio.create_task(self._greet()))
        heard = [delays for delays in await asyncio.gather(*waiting) if delays is not None]
        loop.remove_reader(self._bound)
        packets_ms, sounds_ms = [packet_ms for packet_ms, _ in heard], [sound_ms for _, sound_ms in heard]
        return Greeted(order.calls, packets_ms, sounds_ms)

    async def _greet(self) -> tuple[float, float] | None:
        """Return how long a caller waited for a packet and for a sound, ms; none where nothing was heard."""
        far_end = self._exchange.new(self._prefix)
        kept = self._wheel.kept[far_end.number] = []
        rang_ns = time.time_ns()
        await self._post(events.connect(far_end.call_id))
        await self._until_connected(far_end)
        await asyncio.sleep(GREETED_FOR_S)
        del self._wheel.kept[far_end.number]
        await self._end(far_end)
        sound_ns = first_sound_ns(came_back(far_end, kept)) if kept else None
        return None if sound_ns is None else ((kept[0][0] - rang_ns) / 1e6, (sound_ns - rang_ns) / 1e6)

    async def measure(self, order: Measure) -> Figures:
        """Look for so long."""
        calls = {far_end.number: far_end for far_end in self._exchange.calls}
        listened_to = list(calls.values())[: order.listen_to]
        for far_end in listened_to:
            far_end.sent, self._wheel.kept[far_end.number] = [], []
        arrivals = self._wheel.arrivals = Arrivals(int(len(calls) * order.seconds * PACKETS_PER_S * 1.2) + 1000)
        self._wheel.late_ns.clear()
        process, own = psutil.Process(order.pid), psutil.Process().pid
        dropped, own_s, used_s, began_s = _dropped(self._bound), cpu_s(own), cpu_s(order.pid), time.monotonic()
        await asyncio.sleep(order.seconds)
        took_s = time.monotonic() - began_s
        used_s, own_s = cpu_s(order.pid) - used_s, cpu_s(own) - own_s
        dropped = _dropped(self._bound) - dropped
        self._wheel.arrivals = None
        delays_ms = []
        for far_end in listened_to:
            heard = came_back(far_end, self._wheel.kept.pop(far_end.number))
            delays_ms += echo_delays_ms(was_sent(far_end), heard)
            far_end.sent = None
        late_ms = [late_ns / 1e6 for late_ns in self._wheel.late_ns]
        flows = arrivals.flows(list(calls), took_s)
        return Figures(
            calls=len(calls),
            seconds=took_s,
            call_missing={calls[each.call].call_id: each.missing for each in flows},
            held=sum(each.held for each in flows),
            missing=sum(each.missing for each in flows) / max(1, len(flows)),
            worst_missing=max((each.missing for each in flows), default=0.0),
            worst_p99_gap_ms=max((each.p99_gap_ms for each in flows), default=0.0),
            max_gap_ms=max((each.max_gap_ms for each in flows), default=0.0),
            echo_delays_ms=delays_ms,
            cpu=used_s / took_s,
            cpu_us_per_packet_slot=used_s * 1e6 / max(1, len(calls)) / (took_s * PACKETS_PER_S),
            rss_bytes=process.memory_info().rss,
            load_late_p99_ms=percentile(late_ms, 99),
            load_late_max_ms=max(late_ms),
            load_cpu=own_s / took_s,
            load_dropped=dropped,
        )

    async def hang_up(self, order: HangUp) -> None:
        """Let the youngest calls end."""
        for far_end in self._exchange.calls[-order.calls :] if order.calls else ():
            await self._end(far_end)
        await asyncio.sleep(AFTER_HANG_UP_S)

    async def _end(self, far_end: FarEnd) -> None:
        await self._post(events.terminate(far_end.call_id))
        self._exchange.forget(far_end)

    async def _post(self, element: dict[str, Any]) -> None:
        if self._poster is None or self._poster.closed:
            host, port = events.host_and_port(self._url)
            _, self._poster = await asyncio.get_running_loop().create_connection(Poster, host, port)
        await self._poster.post(events.request(self._url, element))

    async def _until_connected(self, far_end: FarEnd) -> FarEnd:
        try:
            async with asyncio.timeout(CONNECTED_WITHIN_S):
                await self._exchange.connected(far_end)
        except TimeoutError:
            await self._end(far_end)
        return far_end


class Pace:
    """Turns that come at a steady rate, with gaps of half to one and a half times the mean.

    Gaps that are a multiple of 20 ms would meet a stack whose clock ticks so at one and the same moment of its tick.
    """

    def __init__(self, per_s: float) -> None:
        self._every_s = 1 / per_s
        self._next_s = time.monotonic()
        self._gaps = Random(per_s)

    async def next(self) -> None:
        """Wait for the next one; one that was missed is made up for."""
        await asyncio.sleep(self._next_s - time.monotonic())
        self._next_s += self._every_s * self._gaps.uniform(0.5, 1.5)


def _dropped(bound: socket.socket) -> int:
    """Return how many of a socket's datagrams the kernel threw away because nobody read them in time."""
    port = bound.getsockname()[1]
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            return int(fields[-1])
    return 0


async def serve(url: str, graph_port: int) -> None:
    """Do what stdin says until it ends."""
    loop = asyncio.get_running_loop()
    bound = listen("127.0.0.1")
    wheel = Wheel(bound)
    exchange = Exchange(Identity(), bound.getsockname()[1], wheel)
    server = await loop.create_server(lambda: graph.GraphConnection(exchange), "127.0.0.1", graph_port)
    consumers = Consumers(url, bound, exchange, wheel)
    turning = asyncio.create_task(wheel.run())
    said = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), sys.stdin)
    gc.freeze()
    gc.disable()  # nothing here makes cycles that matter within a run, and a collection is a pause for all
    while line := await said.readline():
        done: Rung | Figures | Greeted | None
        match order_of(line):
            case Ring() as order:
                done = await consumers.ring(order)
            case Measure() as order:
                done = await consumers.measure(order)
            case Greet() as order:
                done = await consumers.greet(order)
            case HangUp() as order:
                await consumers.hang_up(order)
                done = None
        sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
        sys.stdout.buffer.flush()
        if turning.done():
            turning.result()
    turning.cancel()
    server.close()


if __name__ == "__main__":
    _, url_, graph_port_ = sys.argv
    uvloop.run(serve(url_, int(graph_port_)))
