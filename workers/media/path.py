"""The path of a leg's datagrams: an ICE connection, and after an ICE restart another one (RFC 8445 section 9).

aiortc knows one connection for the life of a leg and cannot restart. What it holds is this path instead, so DTLS and
SRTP above go on while the connection below changes:

    prepare    the peer's offer brought new credentials: a second connection gathers; our answer tells of it
    change     our answer is made: the second connects while the first still carries the media
    ...        it is connected: it carries what we send, and the first is closed once nothing is under way on it
    ...        it is not, within 10 s: it is dropped, and the first goes on

The peer's signs of life count on whichever connection they come, and datagrams arrive in one inbox.
"""

import asyncio
import time

import structlog
from aioice import Candidate, ConnectionClosed

from workers.media.ice import SILENCE_LIMIT_S, IceConnection, Inbox, Pulse
from workers.media.sockets import Tap
from workers.media.turn import Relays

RESTART_TIMEOUT_S = 10.0
LINGER_S = 1.0
"""The old sockets stay open for so long after the change: the peer learns of it a trip later than we do."""

log = structlog.get_logger()


class MediaPath:
    """What aiortc takes for its one ICE connection.

    Args:
        addresses, ports, relays: as for `IceConnection`.
        silence_limit_s: the peer is dead when nothing authenticated came for so long.
        restart_timeout_s: a restart that is not connected by then is given up.
    """

    def __init__(
        self,
        addresses: tuple[str, ...] = (),
        ports: tuple[int, int] | None = None,
        relays: Relays | None = None,
        *,
        silence_limit_s: float = SILENCE_LIMIT_S,
        restart_timeout_s: float = RESTART_TIMEOUT_S,
    ) -> None:
        self._reach = addresses, ports, relays
        self._restart_timeout_s = restart_timeout_s
        self._inbox: Inbox = asyncio.Queue()
        self._tap: Tap | None = None
        self._closed = False
        self._next: IceConnection | None = None
        self._changing: asyncio.Task[None] | None = None
        self._parting: dict[IceConnection, asyncio.Task[None]] = {}
        self.remote_username: str | None = None  # these three are set by aiortc, once, before it calls `connect`
        self.remote_password: str | None = None
        self.remote_is_lite = False
        self.pulse = Pulse(silence_limit_s)
        self._carry(self._connection())

    def _connection(self) -> IceConnection:
        connection = IceConnection(*self._reach, pulse=self.pulse, inbox=self._inbox)
        connection.tap = self._tap
        connection.step_down()  # until it carries
        return connection

    def _carry(self, connection: IceConnection) -> None:
        connection.take_over()
        self._current = connection
        self.send_now = connection.send_now

    @property
    def _newest(self) -> IceConnection:
        return self._next or self._current

    @property
    def _all(self) -> tuple[IceConnection, ...]:
        return (self._current, *([self._next] if self._next else ()), *self._parting)

    # --- what the leg asks for ---

    @property
    def tap(self) -> Tap | None:
        """Who is given every datagram first, and takes it by returning True."""
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        for connection in self._all:
            connection.tap = tap

    def mute(self) -> None:
        """Close all sockets at once; nothing leaves them any more, whoever tries."""
        self._closed = True
        if self._changing is not None:
            self._changing.cancel()
        for connection in self._all:
            connection.mute()

    @property
    def far_end(self) -> tuple[str, str]:
        """User fragment and password of the peer, as of the newest connection."""
        newest = self._newest
        return newest.remote_username or "", newest.remote_password or ""

    # --- restart ---

    async def prepare(self, ufrag: str, password: str, *, lite: bool) -> None:
        """Gather for a restart with the peer's new credentials; what aiortc reads from now on is the new connection's.

        Raises:
            OSError: no local address could be used, and the path is as it was; or it was closed meanwhile.
        """
        await self.give_up()
        connection = self._connection()
        connection.ice_controlling = self._current.ice_controlling  # a restart changes no role (RFC 8445, 6.1.1)
        connection.remote_username, connection.remote_password = ufrag, password
        connection.remote_is_lite = lite
        try:
            await connection.gather_candidates()
            if self._closed:
                raise OSError("the leg was closed")
        except BaseException:
            connection.mute()
            raise
        self._next = connection
        self.pulse.heard_at_s = (
            time.monotonic()
        )  # the offer is a sign of life, and its sender may just have changed networks

    def change(self) -> None:
        """Connect what was prepared, and then let it carry the media; do nothing where nothing was."""
        if self._next is not None:
            self._changing = asyncio.create_task(self._change(self._next))

    async def _change(self, connection: IceConnection) -> None:
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(self._restart_timeout_s):
                await connection.connect()
        except (ConnectionError, TimeoutError) as error:
            log.warning("ice.restart_failed", reason=str(error) or f"not within {self._restart_timeout_s:g} s")
            self._next = None
            await connection.close()
            return
        old = self._current
        self._next = None
        self._carry(connection)
        old.step_down()
        self._parting[old] = asyncio.create_task(self._part(old))
        log.info("ice.restarted", took_ms=round((time.monotonic() - started_s) * 1000))

    async def _part(self, old: IceConnection) -> None:
        if old.connected:
            await asyncio.sleep(LINGER_S)
        await old.close()
        del self._parting[old]

    async def give_up(self) -> None:
        """Drop a restart that is not through; the path goes on as it was."""
        if self._next is not None:
            dropped, self._next = self._next, None
            if self._changing is not None:
                self._changing.cancel()
            await dropped.close()
        if self._changing is not None:
            await asyncio.wait([self._changing])
            self._changing = None

    # --- what aiortc asks of its connection ---

    @property
    def ice_controlling(self) -> bool:
        """Whether we nominate."""
        return self._current.ice_controlling

    @ice_controlling.setter
    def ice_controlling(self, controlling: bool) -> None:
        self._current.ice_controlling = controlling

    @property
    def local_username(self) -> str:
        """Our user fragment."""
        return self._newest.local_username

    @property
    def local_password(self) -> str:
        """Our password."""
        return self._newest.local_password

    @property
    def local_candidates(self) -> list[Candidate]:
        """Our candidates."""
        return self._newest.local_candidates

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The peer's candidates."""
        return self._newest.remote_candidates

    async def gather_candidates(self) -> None:
        """Gather for the first connection; see `IceConnection`."""
        await self._current.gather_candidates()

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """Add a candidate of the peer; None is the last, but never ends a restart before its time is over."""
        if candidate is None and self._next is not None:
            return
        if not self._newest.remote_candidates_ended:
            await self._newest.add_remote_candidate(candidate)

    async def connect(self) -> None:
        """Connect the first connection, or the one that overtakes it by a restart.

        Raises:
            ConnectionError: neither could be.
        """
        first = self._current
        first.remote_username, first.remote_password = self.remote_username, self.remote_password
        first.remote_is_lite = self.remote_is_lite
        try:
            await first.connect()
        except ConnectionError:
            if self._changing is not None:
                await asyncio.wait([self._changing])
            if self._current is first:
                raise

    async def recv(self) -> bytes:
        """Return the next datagram that the tap left alone.

        Raises:
            ConnectionError: there is no connection, or no longer.
        """
        return await self._current.recv()

    async def send(self, data: bytes) -> None:
        """Send a datagram.

        Raises:
            ConnectionError: there is no connection, or no longer.
        """
        await self._current.send(data)

    async def get_event(self) -> ConnectionClosed:
        """Return once the connection that carries the media is closed."""
        while True:
            watched = self._current
            await watched.get_event()
            if watched is self._current:
                return ConnectionClosed()

    async def close(self) -> None:
        """Close whatever is open."""
        self._closed = True
        await self.give_up()
        for connection, parting in tuple(self._parting.items()):
            parting.cancel()
            await asyncio.wait([parting])
            await connection.close()
        await self._current.close()
