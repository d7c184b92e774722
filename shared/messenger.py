"""Messages to consumers, on their way through an action worker, and what became of them.

    pl:message:<id>     hash    page, kind, body (the Send API's; gone when the outcome is known), call, to (whose
                                outcomes), taken (by which run of the job, or called off); for a few minutes
    pl:outcomes:<name>  stream  id (of the message), outcome (JSON), for whoever sent it and waits; for as long

What a message says is nowhere else: a job's arguments, a call's log and the logs name it by its id. It is sent once at
the most. `taken` belongs to whoever was first, so that a run whose worker died is not repeated, and a message that is
called off in time was certainly not sent.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from shared import actions
from shared.bus import Bus
from shared.errors import MessageFailed, RedisAway
from shared.meta.messages import Message, body_of
from shared.wire import Wire, patiently

KEPT_S: Final = 180
TAKEN_WITHIN_S: Final = 15.0
"""An action worker has this long to take a message; then it is called off."""
KNOWN_WITHIN_S: Final = 25.0
"""What became of a message that was taken is known by then, or never will be."""
OUTCOMES_KEPT: Final = 1000
NOBODY: Final = "called off"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of a message: Graph's id for it, or a cause."""

    message_id: str = ""
    cause: str = ""
    """As in `MessageFailed`; empty where it was sent."""
    trouble: str = ""
    """The cause in words."""
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    remedy: str = ""
    ambiguous: bool = False


class Parcel(NamedTuple):
    """A message as an action worker finds it."""

    page: str
    kind: str
    body: bytes
    call_id: str
    """The call it belongs to, or ""."""
    outcomes_of: str
    """Who waits."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Outcome).decode


class Outbox:
    """Messages that are not sent yet, and outcomes. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def put(self, parcel_id: str, parcel: Parcel) -> None:
        """Keep a message until it is sent."""
        fields = ("page", parcel.page, "kind", parcel.kind, "body", parcel.body)
        owners = ("call", parcel.call_id, "to", parcel.outcomes_of)
        key = _message(parcel_id)
        await self._wire.transaction([("HSET", key, *fields, *owners), ("EXPIRE", key, KEPT_S)])

    async def find(self, parcel_id: str) -> Parcel | None:
        """Return a message; none where its outcome is known, or nobody took it for too long."""
        found = await self._wire.call("HMGET", _message(parcel_id), "page", "kind", "body", "call", "to")
        page, kind, body, call_id, outcomes_of = found
        if body is None:
            return None
        return Parcel(page.decode(), kind.decode(), body, call_id.decode(), outcomes_of.decode())

    async def take(self, parcel_id: str, by: str) -> str:
        """Take a message in hand, and return who has it: `by`, or whoever was first."""
        key = _message(parcel_id)
        claim = [("HSETNX", key, "taken", by), ("EXPIRE", key, KEPT_S), ("HGET", key, "taken")]
        *_, taker = await self._wire.transaction(claim)
        return str(taker.decode())

    async def settle(self, parcel_id: str, parcel: Parcel, outcome: Outcome) -> None:
        """Tell whoever waits, and forget what the message said."""
        outcomes = _outcomes(parcel.outcomes_of)
        told = ("XADD", outcomes, "MAXLEN", "~", OUTCOMES_KEPT, "*", "id", parcel_id, "outcome", _encode(outcome))
        # who took it stays: nobody who calls it off now may believe to be the first
        await self._wire.transaction([told, ("EXPIRE", outcomes, KEPT_S), ("HDEL", _message(parcel_id), "body")])

    async def outcomes(self, name: str, ear: Wire, after: str) -> list[tuple[str, str, Outcome]]:
        """Return entry id, message and outcome of what follows `after`; wait a second for it on a wire of its own."""
        reply = await ear.call("XREAD", "COUNT", 100, "BLOCK", 1000, "STREAMS", _outcomes(name), after, timeout_s=5.0)
        entries = reply[0][1] if reply else []
        return [(entry_id.decode(), fields[1].decode(), _decode(fields[3])) for entry_id, fields in entries]


class Messenger:
    """Has messages sent and waits for what came of each; any number of tasks may use it at once.

    While somebody waits it holds one more connection to Redis, which brings the outcomes.
    """

    def __init__(self, bus: Bus, *, taken_within_s: float = TAKEN_WITHIN_S) -> None:
        self._bus = bus
        self._taken_within_s = taken_within_s
        self._outbox = Outbox(bus.wire)
        self._name = secrets.token_hex(8)
        self._heard = "0-0"
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def send(self, page: str, psid: str, message: Message, *, call_id: str = "") -> str:
        """Send a message, once, and return Graph's id for it. What belongs to a call goes before what does not.

        Raises:
            MessageFailed: it was not sent, or nobody knows.
            ValueError: there is no `psid`.
        """
        parcel = Parcel(page, message.kind, body_of(message, psid), call_id, self._name)
        parcel_id = secrets.token_hex(12)
        future = self._waiting[parcel_id] = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._deliver(parcel_id, parcel, future)
        finally:
            del self._waiting[parcel_id]
        if outcome.cause:
            raise MessageFailed(
                outcome.trouble,
                cause=outcome.cause,
                code=outcome.code,
                subcode=outcome.subcode,
                fbtrace_id=outcome.fbtrace_id,
                remedy=outcome.remedy,
                ambiguous=outcome.ambiguous,
            )
        return outcome.message_id

    async def _deliver(self, parcel_id: str, parcel: Parcel, future: asyncio.Future[Outcome]) -> Outcome:
        """Hand a message over, and wait until an action worker says what came of it; call it off if none takes it."""
        try:
            await self._outbox.put(parcel_id, parcel)
            await actions.message(self._bus, parcel_id, urgent=bool(parcel.call_id))
        except RedisAway as away:
            return await self._give_up(parcel_id, Outcome(cause="redis_away", trouble=str(away)))
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="outcomes of messages")
        await asyncio.wait([future], timeout=self._taken_within_s)
        if not future.done():
            trouble = f"no action worker took the message for {self._taken_within_s:g} s. Does `pageline action` run?"
            given_up = await self._give_up(parcel_id, Outcome(cause="not_taken", trouble=trouble))
            if not given_up.ambiguous:
                return given_up
            await asyncio.wait([future], timeout=KNOWN_WITHIN_S)
        silence = Outcome(cause="no_reply", trouble="the action worker did not say what came of it", ambiguous=True)
        return future.result() if future.done() else silence

    async def _give_up(self, parcel_id: str, outcome: Outcome) -> Outcome:
        """Call a message off; the outcome is ambiguous where it was taken, or where nobody confirms."""
        try:
            called_off = await self._outbox.take(parcel_id, NOBODY) == NOBODY
        except RedisAway:
            called_off = False
        return outcome if called_off else msgspec.structs.replace(outcome, ambiguous=True)

    async def _listen(self) -> None:
        """Hear outcomes while somebody waits for one."""
        ear = Wire(self._bus.wire.address, name="pageline-outcomes")
        try:
            await patiently(ear.connect)
            while self._waiting:
                for entry_id, parcel_id, outcome in await patiently(self._hear_from(ear)):
                    self._heard = entry_id
                    future = self._waiting.get(parcel_id)
                    if future is not None and not future.done():
                        future.set_result(outcome)
        finally:
            self._listening = None
            await ear.close()

    def _hear_from(self, ear: Wire) -> Callable[[], Awaitable[list[tuple[str, str, Outcome]]]]:
        return lambda: self._outbox.outcomes(self._name, ear, self._heard)


def _message(parcel_id: str) -> str:
    return f"pl:message:{parcel_id}"


def _outcomes(name: str) -> str:
    return f"pl:outcomes:{name}"
