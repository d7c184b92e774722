"""The sockets of an ICE connection: which are bound, and the shortest way of a datagram in and out."""

import random
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aioice.ice import StunProtocol, get_host_addresses
from aioice.stun import Message

from workers.media.intake import Datagrams

if TYPE_CHECKING:
    from workers.media.ice import IceConnection

Tap = Callable[[bytes], bool]
"""Takes a datagram by returning True."""
Send = Callable[[bytes, tuple[str, int]], bool]

MAX_DATAGRAM_BYTES = 1500  # libsrtp's buffer; aiortc would end the call over a longer one
RECEIVE_BUFFER_BYTES = 256 * 1024
ADDRESSES_FRESH_S = 10.0
MOST_TRIES = 500  # ports that are taken in a row; the media loop waits meanwhile


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


local_addresses = LocalAddresses()


def bind(address: str, ports: tuple[int, int] | None) -> socket.socket:
    """Return a UDP socket on `address`, on a free port of the inclusive range `ports` if one is given.

    Raises:
        OSError: the address is not ours or no port is free.
    """
    low, high = ports or (0, 0)
    count = high - low + 1
    start = random.randrange(max(1, count))
    failure = OSError(f"the port range {low}-{high} is empty")
    for step in range(min(count, MOST_TRIES)):
        port = low + (start + step) % count
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


class Endpoint(StunProtocol):
    """One local candidate of a connection, and the way in and out of it."""

    def __init__(self, connection: "IceConnection") -> None:
        super().__init__(connection)
        self._connection = connection

    def listen(self, tap: Tap | None) -> None:
        """Offer every datagram to the tap before anybody reads it as STUN or DTLS."""
        raise NotImplementedError

    @property
    def send_soon(self) -> Send:
        """What sends at the end of the batch that is under way, or else now, and tells whether there still is a way."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once; nothing leaves any more."""
        raise NotImplementedError

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if 0 < len(data) <= MAX_DATAGRAM_BYTES:
            with suppress(struct.error, KeyError):  # an attribute is cut or missing, and aioice awaits ValueError only
                super().datagram_received(data, addr)

    async def request(
        self,
        request: Message,
        addr: tuple[str, int],
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[Message, tuple[str, int]]:
        answer = await super().request(request, addr, integrity_key, retransmissions)
        self._connection.pulse.heard_at_s = time.monotonic()
        return answer


class HostEndpoint(Endpoint):
    """A UDP socket of our own."""

    def __init__(self, connection: "IceConnection", bound: socket.socket) -> None:
        super().__init__(connection)
        self._datagrams = Datagrams(bound, self, connection.tap)

    def listen(self, tap: Tap | None) -> None:
        self._datagrams.tap = tap

    @property
    def send_soon(self) -> Send:
        return self._datagrams.send_soon

    def abort(self) -> None:
        self._datagrams.abort()
