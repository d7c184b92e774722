"""ICE on the addresses and ports we are told to use, with a watch on whether the far side still lives.

aioice leaves 127.0.0.1 out, takes any port, sleeps 20 ms after the last check, and needs half a minute to notice a dead
peer; aiortc above it dies of an empty datagram. All of that is changed here by subclassing, for our connections only.
"""

import asyncio
import random
import time
from typing import cast

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol
from aioice.stun import Message, TransactionError

from workers.media.sockets import Endpoint, HostEndpoint, Send, Tap, bind, local_addresses
from workers.media.turn import Relays

SILENCE_LIMIT_S = 8.0  # nothing authenticated for so long: the peer is dead
# In parts of that limit: ask every 5 s (RFC 7675 section 5.1), but every second once it was silent for 3 s.
ASK_EVERY, WORRIED_AFTER, WORRIED_EVERY = 5 / 8, 3 / 8, 1 / 8

Inbox = asyncio.Queue[tuple[bytes, int] | None]


class Pulse:
    """When something authenticated last came from the peer, on whichever of a leg's connections."""

    def __init__(self, limit_s: float = SILENCE_LIMIT_S) -> None:
        self.limit_s = limit_s
        self.heard_at_s = time.monotonic()

    def silent_s(self) -> float:
        """Return for how long nothing has come."""
        return time.monotonic() - self.heard_at_s


class IceConnection(Connection):
    """An ICE agent with one component.

    Args:
        addresses: local addresses to bind on, 127.0.0.1 too if wanted; empty for all but loopback.
        ports: inclusive range of local UDP ports; None for any.
        relays: TURN servers, if any.
        pulse: the peer's signs of life; shared where several connections lead to one peer.
        inbox: where datagrams that the tap leaves alone go; shared in the same way.
    """

    def __init__(
        self,
        addresses: tuple[str, ...] = (),
        ports: tuple[int, int] | None = None,
        relays: Relays | None = None,
        *,
        pulse: Pulse | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        super().__init__(ice_controlling=False)  # aiortc sets the role when it makes an offer
        self.pulse = pulse or Pulse()
        self._tap: Tap | None = None
        self._pair: CandidatePair | None = None  # the one that the two below belong to
        self._far: tuple[str, int]
        self._send: Send
        self._inbox = inbox or self._queue
        self._addresses = addresses
        self._ports = ports
        self._relays = relays

    # --- what the path asks for ---

    @property
    def connected(self) -> bool:
        """Whether a pair was nominated and is still open."""
        return bool(self._nominated)

    @property
    def remote_candidates_ended(self) -> bool:
        """Whether the peer has said that no candidate follows."""
        return self._remote_candidates_end

    @property
    def tap(self) -> Tap | None:
        """Who is asked first whether it takes a datagram, before it is read as STUN or DTLS."""
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        for protocol in self._protocols:
            cast("Endpoint", protocol).listen(tap)

    def send_now(self, data: bytes) -> bool:
        """Send a datagram to the peer without waiting (see `intake.batch`); tell whether there was a way."""
        pair = self._nominated.get(1)
        if pair is None:
            return False
        if pair is not self._pair:
            self._pair, self._far = pair, pair.remote_addr
            self._send = cast("Endpoint", pair.protocol).send_soon
        return self._send(data, self._far)

    def take_over(self) -> None:
        """Let the inbox end with this connection."""
        self._queue = self._inbox

    def step_down(self) -> None:
        """Go on delivering, but end without a word to the inbox."""
        self._queue = asyncio.Queue()

    def mute(self) -> None:
        """Close the sockets at once; nothing leaves them any more, whoever tries."""
        for protocol in self._protocols:
            cast("Endpoint", protocol).abort()

    # --- what differs from aioice ---

    async def gather_candidates(self) -> None:
        """Bind one socket per address and ask the relays; a relay that is not there costs 3 s at most.

        Raises:
            OSError: nothing came of any; the message says why.
        """
        if self._local_candidates_start:
            return
        self._local_candidates_start = True
        reasons: list[str] = []
        if self._relays is None or not self._relays.only:
            reasons += self._bind_all()
        if self._relays is not None:
            reasons += await self._relays.gather(self, self._addresses, self._ports, self._admit)
        if not self._local_candidates:
            raise OSError("; ".join(reasons))
        self._local_candidates_end = True

    def _bind_all(self) -> list[str]:
        """Bind one socket per address; return why, where one could not be."""
        addresses = self._addresses or local_addresses()
        reasons = [] if addresses else ["this machine has no address but loopback; set MEDIA_ADDRESSES"]
        for address in addresses:
            try:
                bound = bind(address, self._ports)
            except OSError as error:
                reasons.append(str(error))
                continue
            endpoint = HostEndpoint(self, bound)
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
            self._admit(endpoint)
        return reasons

    def _admit(self, endpoint: Endpoint) -> None:
        self._protocols.append(endpoint)
        self._local_candidates.append(endpoint.local_candidate)

    def data_received(self, data: bytes, component: int) -> None:
        """Take a datagram that is neither STUN nor for the tap."""
        self._inbox.put_nowait((data, component))

    def _check_periodic(self) -> bool:
        """Start the next check; stop pacing once all are under way, so that `connect` sees success at once."""
        unstarted = {CandidatePair.State.WAITING, CandidatePair.State.FROZEN}
        going = super()._check_periodic()
        left = any(pair.state in unstarted and pair.task is None for pair in self._check_list)
        return going and (left or not self._check_list)

    def check_incoming(self, message: Message, addr: tuple[str, int], protocol: StunProtocol) -> None:
        """Handle a check of the peer, which aioice has authenticated."""
        self.pulse.heard_at_s = time.monotonic()
        super().check_incoming(message, addr, protocol)

    async def query_consent(self) -> None:
        """Ask for consent now and then (RFC 7675), more often when worried; close when the silence gets too long.

        A muted caller may send no packet for minutes, so it is this answer that keeps a quiet call alive.
        """
        if self._closing:  # aioice starts this even when it was closed while the last check came back
            return
        limit_s = self.pulse.limit_s
        while self.pulse.silent_s() < limit_s:
            for pair in tuple(self._nominated.values()):
                await self._ask_consent(pair)
            worried = self.pulse.silent_s() > WORRIED_AFTER * limit_s
            await asyncio.sleep(limit_s * (WORRIED_EVERY if worried else ASK_EVERY * random.uniform(0.8, 1.2)))
        self._query_consent_task = None  # close() would cancel it, and that is us
        await self.close()

    async def _ask_consent(self, pair: CandidatePair) -> None:
        key = (self.remote_password or "").encode()
        try:
            await pair.protocol.request(self.build_request(pair, nominate=False), pair.remote_addr, key, 0)
        except TransactionError:
            return  # the silence is measured, not the failures
