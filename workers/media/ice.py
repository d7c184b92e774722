"""ICE on the addresses and ports we are told to use, with a watch on whether the far side still lives.

aioice leaves 127.0.0.1 out, takes any port, sleeps 20 ms after the last check, and needs half a minute to notice a dead
peer; aiortc above it dies of an empty datagram. All of that is changed here by subclassing, for our connections only.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable
from typing import Any, cast

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol, get_host_addresses
from aioice.stun import Message, TransactionError
from aiortc import RTCIceGatherer

from workers.media.intake import Datagrams

SILENCE_LIMIT_S = 8.0  # nothing authenticated for so long: the peer is dead
# In parts of that limit: ask every 5 s (RFC 7675 section 5.1), but every second once it was silent for 3 s.
ASK_EVERY, WORRIED_AFTER, WORRIED_EVERY = 5 / 8, 3 / 8, 1 / 8

MAX_DATAGRAM_BYTES = 1500  # libsrtp's buffer; aiortc would end the call over a longer one
RECEIVE_BUFFER_BYTES = 256 * 1024
ADDRESSES_FRESH_S = 10.0


class LocalAddresses:
    """The machine's addresses but loopback and link-local ones, looked up at most every ten seconds."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._looked_at_s = -ADDRESSES_FRESH_S

    def __call__(self) -> tuple[str, ...]:
        """Return the addresses."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s >= ADDRESSES_FRESH_S:
            self._known = tuple(get_host_addresses(use_ipv4=True, use_ipv6=True))
            self._looked_at_s = now_s
        return self._known


_local_addresses = LocalAddresses()


def bind(address: str, ports: tuple[int, int] | None) -> socket.socket:
    """Return a UDP socket on `address`, on a free port of the inclusive range `ports` if one is given.

    Raises:
        OSError: the address is not ours or no port is free.
    """
    low, high = ports or (0, 0)
    order = range(low, high + 1)
    start = random.randrange(len(order)) if order else 0
    failure = OSError(f"the port range {low}-{high} is empty")
    for port in (*order[start:], *order[:start]):
        bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.bind((address, port))
        except OSError as error:
            bound.close()
            failure = error
        else:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            return bound
    raise failure


class _Endpoint(StunProtocol):
    """One UDP socket of a connection; hands SRTP to the connection's tap before anybody tries to read it as STUN."""

    def __init__(self, connection: "IceConnection", bound: socket.socket) -> None:
        super().__init__(connection)
        self._connection = connection
        self.datagrams = Datagrams(bound, self, connection.tap)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if 0 < len(data) <= MAX_DATAGRAM_BYTES:
            super().datagram_received(data, addr)

    async def request(
        self,
        request: Message,
        addr: tuple[str, int],
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[Message, tuple[str, int]]:
        answer = await super().request(request, addr, integrity_key, retransmissions)
        self._connection.hear(time.monotonic())
        return answer


class IceConnection(Connection):
    """An ICE agent of one leg, with one component and no servers."""

    def __init__(
        self,
        addresses: tuple[str, ...] = (),
        ports: tuple[int, int] | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
    ) -> None:
        super().__init__(ice_controlling=False)  # aiortc sets the role when it makes an offer
        self.silence_limit_s = silence_limit_s
        self._tap: Callable[[bytes], bool] | None = None
        self.heard_at_s = time.monotonic()
        self._addresses = addresses
        self._ports = ports
        self._pair: CandidatePair | None = None  # the one that the two below belong to
        self._far: tuple[str, int]
        self._datagrams: Datagrams

    # --- what the leg asks for ---

    @property
    def tap(self) -> Callable[[bytes], bool] | None:
        """Who is asked first whether it takes a datagram, before it is read as STUN or DTLS."""
        return self._tap

    @tap.setter
    def tap(self, tap: Callable[[bytes], bool] | None) -> None:
        self._tap = tap
        for protocol in self._protocols:
            cast("_Endpoint", protocol).datagrams.tap = tap

    def hear(self, at_s: float) -> None:
        """Note that something authenticated came from the peer."""
        self.heard_at_s = at_s

    def silent_s(self) -> float:
        """Return for how long nothing authenticated has come."""
        return time.monotonic() - self.heard_at_s

    def send_now(self, data: bytes) -> bool:
        """Send a datagram to the peer without waiting (see `intake.batch`); tell whether there was a way."""
        pair = self._nominated.get(1)
        if pair is None:
            return False
        if pair is not self._pair:
            self._pair, self._far = pair, pair.remote_addr
            self._datagrams = cast("_Endpoint", pair.protocol).datagrams
        return self._datagrams.send_soon(data, self._far)

    def mute(self) -> None:
        """Close the sockets at once; nothing leaves them any more, whoever tries."""
        for protocol in self._protocols:
            protocol.transport.abort()

    # --- what differs from aioice ---

    async def gather_candidates(self) -> None:
        """Bind one socket per address.

        Raises:
            OSError: none could be bound.
        """
        if self._local_candidates_start:
            return
        self._local_candidates_start = True
        addresses = self._addresses or _local_addresses()
        failure = OSError("this machine has no address but loopback; set MEDIA_ADDRESSES")
        for address in addresses:
            try:
                bound = bind(address, self._ports)
            except OSError as error:
                failure = error
                continue
            endpoint = _Endpoint(self, bound)
            host, port = bound.getsockname()[:2]
            endpoint.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=1,
                transport="udp",
                priority=candidate_priority(1, "host"),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(endpoint)
            self._local_candidates.append(endpoint.local_candidate)
        if not self._local_candidates:
            raise failure
        self._local_candidates_end = True

    def _check_periodic(self) -> bool:
        """Start the next check; stop pacing once all are under way, so that `connect` sees success at once."""
        unstarted = {CandidatePair.State.WAITING, CandidatePair.State.FROZEN}
        going = super()._check_periodic()
        left = any(pair.state in unstarted and pair.task is None for pair in self._check_list)
        return going and (left or not self._check_list)

    def check_incoming(self, message: Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        """Handle a check of the peer, which aioice has authenticated."""
        self.hear(time.monotonic())
        super().check_incoming(message, addr, protocol)

    async def query_consent(self) -> None:
        """Ask for consent now and then (RFC 7675), more often when worried; close when the silence gets too long.

        A muted caller may send no packet for minutes, so it is this answer that keeps a quiet call alive.
        """
        if self._closing:  # aioice starts this even when it was closed while the last check came back
            return
        limit_s = self.silence_limit_s
        while self.silent_s() < limit_s:
            for pair in tuple(self._nominated.values()):
                await self._ask_consent(pair)
            worried = self.silent_s() > WORRIED_AFTER * limit_s
            await asyncio.sleep(limit_s * (WORRIED_EVERY if worried else ASK_EVERY * random.uniform(0.8, 1.2)))
        self._query_consent_task = None  # close() would cancel it, and that is us
        await self.close()

    async def _ask_consent(self, pair: CandidatePair) -> None:
        key = (self.remote_password or "").encode()
        try:
            await pair.protocol.request(self.build_request(pair, nominate=False), pair.remote_addr, key, 0)
        except TransactionError:
            return  # the silence is measured, not the failures


class IceGatherer(RTCIceGatherer):
    """aiortc's gatherer over our connection."""

    def __init__(self, connection: IceConnection) -> None:
        super().__init__(iceServers=[])
        self._connection = connection
