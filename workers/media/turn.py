"""Relayed candidates: aioice's TURN client (RFC 8656) over udp, tcp and tls, with the reason where there is none.

aioice asks one server, from any port, says nothing where that fails, and starts a task for every packet.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import structlog
from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.stun import Message, TransactionError, TransactionFailed
from aioice.turn import (
    DEFAULT_ALLOCATION_LIFETIME,
    TurnClientMixin,
    TurnClientTcpProtocol,
    TurnClientUdpProtocol,
    TurnTransport,
)

from shared.ice_servers import IceServer
from workers.media.intake import Datagrams
from workers.media.sockets import Endpoint, Send, Tap, bind

if TYPE_CHECKING:
    from workers.media.ice import IceConnection

ALLOCATION_TIMEOUT_S = 3.0
RELEASE_TIMEOUT_S = 1.0
CHANNEL_REFRESH_S = 240  # a channel lives for 600 s, the permission that comes with it for 300 (RFC 8656 section 9)
STALE_BYTES = 16 * 1024  # three seconds of speech that a TCP connection did not take: what is late is not worth sending
UNAUTHORIZED, QUOTA_REACHED, NO_CAPACITY = 401, 486, 508  # RFC 8656 section 19

log = structlog.get_logger()


class RelayRefused(Exception):
    """A TURN server gave no relayed address; the message names the server, the cause and the remedy."""


class Relays:
    """The TURN servers of a worker.

    Args:
        servers: those to ask, the most wanted first.
        only: use relayed candidates and no others.
        tls: what `turns:` servers are checked against; by default the system's authorities or SSL_CERT_FILE.
    """

    def __init__(self, servers: Sequence[IceServer], *, only: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.only = only
        self._servers = tuple(server for server in servers if server.relays)
        needed = any(server.tls for server in self._servers)
        self._tls = tls or (ssl.create_default_context() if needed else None)  # reads a long file: once, and not later
        self._told: dict[IceServer, str] = {}

    async def gather(
        self,
        connection: "IceConnection",
        addresses: tuple[str, ...],
        ports: tuple[int, int] | None,
        admit: Callable[["RelayEndpoint"], None],
    ) -> list[str]:
        """Ask all servers at once, admit what they give, and return why where one gave nothing; within 3 s."""

        async def ask(rank: int, server: IceServer) -> str:
            try:
                endpoint = await self._allocate(server, connection, addresses, ports)
            except RelayRefused as error:
                self._tell(server, str(error))
                return str(error)
            endpoint.local_candidate = _candidate(endpoint, rank, hide=self.only)
            admit(endpoint)
            self._told.pop(server, None)
            return ""

        reasons = await asyncio.gather(*(ask(rank, server) for rank, server in enumerate(self._servers)))
        return [reason for reason in reasons if reason]

    def _tell(self, server: IceServer, reason: str) -> None:
        """Log a reason once, not for every leg, until the server works again."""
        if self._told.get(server) != reason:
            self._told[server] = reason
            log.error("relay.refused", server=str(server), reason=reason)

    async def _allocate(
        self,
        server: IceServer,
        connection: "IceConnection",
        addresses: tuple[str, ...],
        ports: tuple[int, int] | None,
    ) -> "RelayEndpoint":
        try:
            async with asyncio.timeout(ALLOCATION_TIMEOUT_S):
                client = await self._reach(server, addresses, ports)
                endpoint = RelayEndpoint(connection, client)
                try:
                    await _introduce(client, endpoint)
                except BaseException:
                    endpoint.abort()
                    raise
                return endpoint
        except (OSError, TransactionError, UnicodeError) as error:  # TimeoutError and ssl.SSLError are OSErrors
            raise RelayRefused(f"{server}: {_why(error)}") from error

    async def _reach(
        self, server: IceServer, addresses: tuple[str, ...], ports: tuple[int, int] | None
    ) -> "_UdpClient | _TcpClient":
        loop = asyncio.get_running_loop()
        if server.transport == "tcp":
            tls = self._tls if server.tls else None
            _, tcp = await loop.create_connection(lambda: _TcpClient(server), server.host, server.port, ssl=tls)
            return tcp
        known = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
        where = known[0][4]
        same_family = [address for address in addresses if (":" in address) == (":" in str(where[0]))]
        bound = bind(same_family[0] if same_family else "::" if ":" in str(where[0]) else "", ports)
        try:
            bound.connect(where)  # so that the kernel tells when nobody listens there
        except BaseException:
            bound.close()
            raise
        udp = _UdpClient(server, where)
        Datagrams(bound, udp)
        return udp


async def _introduce(client: "_UdpClient | _TcpClient", endpoint: "RelayEndpoint") -> None:
    """Allocate; fail as soon as the connection to the server does, which aioice does not look at."""
    transport = TurnTransport(client)
    allocation = asyncio.ensure_future(transport._connect(endpoint))
    try:
        either: tuple[asyncio.Future[Any], ...] = allocation, client.broken
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not allocation.done():
            raise client.broken.result()
        await allocation
    finally:
        allocation.cancel()


def _candidate(endpoint: "RelayEndpoint", rank: int, *, hide: bool) -> Candidate:
    host, port = endpoint.transport.get_extra_info("sockname")
    related = endpoint.transport.get_extra_info("related_address")
    if hide:  # RFC 9429 section 3.5.3, in the words of RFC 8839 section 5.1
        related = ("::" if ":" in host else "0.0.0.0", 9)  # noqa: S104  # written, not bound
    return Candidate(
        foundation=candidate_foundation("relay", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "relay", 0xFFFF - rank),
        host=host,
        port=port,
        type="relay",
        related_address=related[0],
        related_port=related[1],
    )


def _why(error: OSError | TransactionError | UnicodeError) -> str:
    """Return the cause and the remedy in one line."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate was refused ({error.verify_message}). Give it one that is valid for this name, "
                "or name the file of its authority in SSL_CERT_FILE"
            )
        case ssl.SSLError():
            return f"no TLS connection came about ({error.reason}). Is this its port for turns:?"
        case TransactionFailed() if error.response.error_code == UNAUTHORIZED:
            return "it refused the credentials. Check ICE_USERNAME and ICE_PASSWORD"
        case TransactionFailed() if error.response.error_code in {QUOTA_REACHED, NO_CAPACITY}:
            return f"it has no room for another call ({error.response.error_code}). Raise its quota or its port range"
        case TransactionFailed():
            return f"it refused with {error.response.error_code}. Its own log says why"
        case TimeoutError() | TransactionError():
            return f"no answer within {ALLOCATION_TIMEOUT_S:g} s. If UDP is blocked here, try ?transport=tcp or turns:"
        case ConnectionRefusedError():
            return "the connection was refused. Does it run, and on this port?"
        case socket.gaierror():
            return "the name is not known. Check ICE_SERVERS"
        case _:
            return str(error) or type(error).__name__


class _Client(TurnClientMixin):
    """aioice's client, which also tells when the way to its server breaks."""

    def __init__(self, server: IceServer) -> None:
        super().__init__(
            (server.host, server.port),
            username=server.username,
            password=server.password,
            lifetime=DEFAULT_ALLOCATION_LIFETIME,
            channel_refresh_time=CHANNEL_REFRESH_S,
        )
        self.broken: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def error_received(self, error: Exception) -> None:
        if not self.broken.done():
            self.broken.set_result(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.error_received(exc or ConnectionResetError("it closed the connection"))
        super().connection_lost(exc)


class _UdpClient(_Client, TurnClientUdpProtocol):
    def __init__(self, server: IceServer, where: Any) -> None:
        super().__init__(server)
        self._where = where

    def _send(self, data: bytes) -> None:
        cast("Datagrams", self.transport).send_soon(data, self._where)


class _TcpClient(_Client, TurnClientTcpProtocol):
    def _send(self, data: bytes) -> None:
        if self.transport.get_write_buffer_size() <= STALE_BYTES:
            super()._send(data)


class RelayEndpoint(Endpoint):
    """One relayed address of a connection."""

    def __init__(self, connection: "IceConnection", client: _UdpClient | _TcpClient) -> None:
        super().__init__(connection)
        self._client = client
        self._tap = connection.tap
        self._refreshing: asyncio.Task[None] | None = None

    def listen(self, tap: Tap | None) -> None:
        self._tap = tap

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if self._tap is None or not self._tap(cast("bytes", data)):
            super().datagram_received(data, addr)

    def send_stun(self, message: Message, addr: tuple[str, int]) -> None:
        self._send(bytes(message), addr)

    async def send_data(self, data: bytes, addr: tuple[str, int]) -> None:
        self._send(data, addr)

    @property
    def send_soon(self) -> Send:
        return self._send

    def _send(self, data: bytes, addr: tuple[str, int]) -> bool:
        """Send over the channel to this peer where there is one; a task of aioice binds it for the first datagram."""
        client = self._client
        if client.transport.is_closing():
            return False
        channel = client.peer_to_channel.get(addr)
        if channel is None:
            self.transport.sendto(data, addr)
            return True
        now_s = time.time()  # aioice's clock
        if now_s > client.channel_refresh_at[channel]:
            client.channel_refresh_at[channel] = now_s + CHANNEL_REFRESH_S
            self._refreshing = asyncio.create_task(self._refresh(channel, addr))
        client._send(struct.pack("!HH", channel, len(data)) + data)
        return True

    async def _refresh(self, channel: int, addr: tuple[str, int]) -> None:
        with contextlib.suppress(TransactionError):  # a server that is gone is noticed by its silence
            await self._client.channel_bind(channel, addr)

    def abort(self) -> None:
        for task in (self._client.refresh_task, self._refreshing):
            if task is not None:
                task.cancel()
        cast("Any", self._client.transport).abort()  # the server frees the address once it expires

    async def close(self) -> None:
        """Give the address back, and close; without a word after 1 s."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._client.delete()
        except TimeoutError:
            self.abort()
        await super().close()
