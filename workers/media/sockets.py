"""The sockets of an ICE connection: which are bound, and the shortest way of a datagram in and out."""

import random
import socket
import time
from typing import TYPE_CHECKING, Any, cast

from aioice.ice import StunProtocol, get_host_addresses
from aioice.stun import Message

if TYPE_CHECKING:
    from workers.media.ice import IceConnection

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


local_addresses = LocalAddresses()


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


class Endpoint(StunProtocol):
    """One UDP socket of a connection; hands SRTP to the connection's tap before anybody tries to read it as STUN."""

    def __init__(self, connection: "IceConnection") -> None:
        super().__init__(connection)
        self._connection = connection

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        data = cast("bytes", data)
        if not 0 < len(data) <= MAX_DATAGRAM_BYTES:
            return
        tap = self._connection.tap
        if tap is None or not tap(data):
            super().datagram_received(data, addr)

    def send_stun(self, message: Message, addr: tuple[str, int]) -> None:
        self.send_now(bytes(message), addr)

    async def send_data(self, data: bytes, addr: tuple[str, int]) -> None:
        self.send_now(data, addr)

    def send_now(self, data: bytes, addr: tuple[str, int]) -> bool:
        """Send, unless the socket was closed, over which asyncio raises AttributeError."""
        if self.transport.is_closing():
            return False
        self.transport.sendto(data, addr)
        return True

    def abort(self) -> None:
        """Close at once; nothing leaves any more."""
        self.transport.abort()

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
