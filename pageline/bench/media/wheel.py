"""The load's one loop: every millisecond it sends what is due, reads what came, and answers what is no media.

Calls are spread evenly over the 20 ms, so that no burst is of our making; what is late by our fault is measured.
"""

import asyncio
import heapq
import socket
import time
from collections.abc import Callable
from random import Random
from typing import Final

import numpy as np

from pageline.bench.media import ice_lite
from pageline.bench.media.arrivals import Arrivals, Numbers
from pageline.bench.media.datagrams import Incoming, Outgoing
from pageline.bench.media.far_end import FarEnd

SLOTS: Final = 20
SLOT_NS: Final = 1_000_000
PERIOD_NS: Final = SLOTS * SLOT_NS
TURN_S: Final = 0.001
GIVEN_UP_NS: Final = 200_000_000
NOBODY: Final = 0xFFFFFFFF

Kept = list[tuple[int, bytes]]
"""Packets as they came, still encrypted, with their Unix times in ns."""


class Losses:
    """Loses and delays packets on their way, the same ones for the same seed."""

    def __init__(self, share: float, seed: int, *, delay_ms: float = 15.0, deviation_ms: float = 4.0) -> None:
        self._share = share
        self._random = Random(seed)
        self._delay_ms = delay_ms
        self._deviation_ms = deviation_ms

    def delay_ns(self) -> int | None:
        """Return how long the next packet is on its way; none if it never arrives."""
        delay_ns = int(max(0.0, self._random.gauss(self._delay_ms, self._deviation_ms)) * 1e6)
        return None if self._random.random() < self._share else delay_ns


class Wheel:
    """Carries the packets of all far ends over one socket."""

    def __init__(self, bound: socket.socket) -> None:
        self.on_connected: Callable[[FarEnd], None] = lambda _: None
        self.arrivals: Arrivals | None = None
        self.kept: dict[int, Kept] = {}
        self.losses: dict[int, Losses] = {}
        self.late_ns: list[int] = []
        """How late each slot was served."""
        self._outgoing, self._incoming = Outgoing(bound), Incoming(bound)
        self._by_name: dict[str, FarEnd] = {}
        self._by_port: dict[int, FarEnd] = {}
        self._number_of = np.full(1 << 16, NOBODY, np.uint32)  # by the peer's port
        self._slots: list[list[FarEnd]] = [[] for _ in range(SLOTS)]
        self._next_slot = 0
        self._delayed: list[tuple[int, int, bytes, bytes]] = []
        self._put = 0

    def expect(self, far_end: FarEnd) -> None:
        """Wait for the call's first check."""
        self._by_name[far_end.ice_name] = far_end

    def forget(self, far_end: FarEnd) -> None:
        """Send nothing more and answer nothing."""
        self._by_name.pop(far_end.ice_name, None)
        if self._by_port.get(far_end.port) is far_end:
            del self._by_port[far_end.port]
            self._number_of[far_end.port] = NOBODY
        for slot in self._slots:
            if far_end in slot:
                slot.remove(far_end)

    async def run(self) -> None:
        """Turn until cancelled."""
        due_ns = time.monotonic_ns()
        while True:
            now_ns = time.monotonic_ns()
            if now_ns - due_ns > GIVEN_UP_NS:  # the machine stood still; nothing is sent twice as fast for it
                self.late_ns.append(now_ns - due_ns)
                due_ns = now_ns
            while due_ns <= now_ns:
                self.late_ns.append(now_ns - due_ns)
                self._serve(self._slots[self._next_slot])
                due_ns += SLOT_NS
                self._next_slot = (self._next_slot + 1) % SLOTS
            if self._delayed:
                self._release(now_ns)
            self._outgoing.send()
            self.read()
            await asyncio.sleep(TURN_S)

    def _serve(self, slot: list[FarEnd]) -> None:
        at_ns = time.time_ns()
        for far_end in slot:
            packet = far_end.next_packet(at_ns)
            if packet is None:
                continue
            losses = self.losses.get(far_end.number)
            if losses is None:
                self._outgoing.put(packet, far_end.source)
            elif (delay_ns := losses.delay_ns()) is not None:
                self._put += 1
                due_ns = time.monotonic_ns() + delay_ns
                heapq.heappush(self._delayed, (due_ns, self._put, packet, far_end.source))

    def _release(self, now_ns: int) -> None:
        while self._delayed and self._delayed[0][0] <= now_ns:
            _, _, packet, source = heapq.heappop(self._delayed)
            self._outgoing.put(packet, source)

    # --- what comes ---

    def read(self) -> None:
        """Take what has come, and answer it."""
        incoming = self._incoming
        count = incoming.capacity
        while count == incoming.capacity:
            count = incoming.receive()
            data = incoming.data[:count]
            first, second = data[:, 0], data[:, 1]
            is_rtp = (first > 127) & (first < 192) & ((second < 192) | (second > 223))  # RFC 7983, RFC 5761
            calls = self._number_of[incoming.ports[:count]]
            if self.arrivals is not None:
                rtp = np.flatnonzero(is_rtp & (calls != NOBODY))
                sequences = data[rtp, 2].astype(np.uint16) << 8 | data[rtp, 3]
                self.arrivals.add(
                    calls[rtp], sequences, incoming.stamps_ns[rtp, 0] * 10**9 + incoming.stamps_ns[rtp, 1]
                )
            for row in np.flatnonzero(~is_rtp):
                self._take_other(data[row, : incoming.bytes[row]].tobytes(), incoming.names[row].tobytes())
            if self.kept:
                self._keep(np.flatnonzero(is_rtp), calls)
        self._outgoing.send()

    def _keep(self, rows: Numbers, calls: Numbers) -> None:
        for row in rows:
            kept = self.kept.get(int(calls[row]))
            if kept is not None:
                second, nanosecond = self._incoming.stamps_ns[row].tolist()
                packet = self._incoming.data[row, : self._incoming.bytes[row]].tobytes()
                kept.append((second * 10**9 + nanosecond, packet))

    def _take_other(self, datagram: bytes, source: bytes) -> None:
        if datagram[:2] == ice_lite.BINDING_REQUEST:
            far_end = self._by_name.get(ice_lite.local_name_in(datagram))
            if far_end is not None:
                self._learn(far_end, source)
                self._outgoing.put(ice_lite.response(datagram, source, far_end.password.encode()), source)
        elif 20 <= datagram[0] <= 63:
            far_end = self._by_port.get(int.from_bytes(source[2:4], "big"))
            if far_end is not None:
                self._shake(far_end, datagram, source)

    def _learn(self, far_end: FarEnd, source: bytes) -> None:
        port = int.from_bytes(source[2:4], "big")
        self._by_port[port] = far_end
        self._number_of[port] = far_end.number

    def _shake(self, far_end: FarEnd, datagram: bytes, source: bytes) -> None:
        was_connected = far_end.connected
        for reply in far_end.take_dtls(datagram):
            self._outgoing.put(reply, source)
        if far_end.connected and not was_connected:
            far_end.source, far_end.port = source, int.from_bytes(source[2:4], "big")
            self._emptiest_slot().append(far_end)
            self.on_connected(far_end)

    def _emptiest_slot(self) -> list[FarEnd]:
        """Return the slot with the fewest calls; of several the one whose turn comes first."""
        coming = (*self._slots[self._next_slot :], *self._slots[: self._next_slot])
        return min(coming, key=len)
