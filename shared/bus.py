"""Where calls live: one ordered log per call, inboxes of workers, leases.

Every step is one Lua script (`shared/lua`), so that it happens wholly or not at all,
timed by the server's clock:

    route     append a fact to a call's log, deliver it to the owner, or find one
    beat      renew a worker's lease; take over from the dead; turn passed deadlines into facts; place what waits
    arm       set the one deadline of a call
    fence     ask whether an epoch may send an action to Graph
    handoff   return a call that was not accepted
    done      close a call
    restore   write a call's log into an emptied Redis

Those that only calls we place need are in `shared/outbound.py`.

Source of the rules: docs/decisions/0001-a-call-is-its-log.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Final, NoReturn

import msgspec

from shared import census, jobs
from shared.calls import facts
from shared.calls.remembered import remembered
from shared.census import Census
from shared.clock import unix_ms
from shared.dead import DeadLetters, Letter
from shared.entries import Delivery, LogEntry, bare, delivery, log_entry
from shared.errors import LeaseLost, RedisAway, RedisForgot
from shared.log import pseudonym
from shared.wire import Script, Wire

PREFIX: Final = "pl:{0}:"
STASH: Final = "pl:forward:"
LATEST_MS: Final = 9_999_999_999_999
"""Lua writes larger numbers with an exponent."""
CALLS_PER_BEAT: Final = 200
LOOK_AFTER_EVERY_S: Final = 1.0

_encode = msgspec.json.Encoder().encode


class Routed(StrEnum):
    """What became of a fact."""

    DELIVERED = "delivered"  # in the owner's inbox
    PLACED = "placed"  # a worker just got the call
    WAITING = "waiting"  # no worker has room: the call waits until its deadline
    LOGGED = "logged"  # nobody needs to act on it
    DUPLICATE = "duplicate"  # seen before; nothing was written
    STALE = "stale"  # said under an epoch that is over; nothing was written


_ROUTED: Final = {routed.encode(): routed for routed in Routed}


class Fenced(StrEnum):
    """What `fence` says."""

    GO = "go"
    AGAIN = "again"  # granted to this very job before: an earlier attempt may have reached Graph
    ORPHANED = "orphaned"  # so it was, and the call has another owner since, or none
    STALE = "stale"
    REFUSED = "refused"


class Bus:
    """The steps, over one connection; any number of tasks may use it at once.

    Every method raises `RedisAway` when the server did not confirm; the step may have happened all the same, and
    repeating it is harmless.
    """

    def __init__(self, wire: Wire, *, retention_hours: int = 48, log_hours: int | None = None) -> None:
        self.wire = wire
        self.dead_letters = DeadLetters(wire)
        self.retention_ms = retention_hours * 3_600_000
        """How long it is known of a call that has ended that it was, and which webhooks came of it."""
        self.log_ms = (log_hours or retention_hours) * 3_600_000
        """How long its log is kept, and it can be found."""
        self._ahead_ms = 0
        self._memory = b""
        """Which memory of the server's we joined; one that was emptied has another."""
        self._route = script("route")
        self._beat = script("beat")
        self._arm = script("arm")
        self._fence = script("fence")
        self._handoff = script("handoff")
        self._done = script("done")
        self._restore = script("restore")

    async def route(self, call_id: str, fact: facts.Fact, *, identity: str = "") -> Routed:
        """Append the fact to the call's log and bring it to whoever has to act on it.

        `identity` marks facts that may come more than once (design rule 3); a second one with the same identity changes
        nothing.
        """
        wants: str = ""
        answer_by_ms: int | str = ""
        asks = stranger = ""
        match fact:
            case facts.Placed():
                wants, answer_by_ms = "1", min(max(fact.call_by_ms, 0), LATEST_MS)
                asks = party_of(fact.page, fact.consumer) if fact.ask_permission else ""
            case facts.Arrived(direction="business_initiated") | facts.StatusChanged(page=str()) if fact.consumer:
                stranger = party_of(fact.page, fact.consumer)
            case facts.Arrived(direction="user_initiated"):
                wants, answer_by_ms = "1", min(max(fact.answer_by_ms, 0), LATEST_MS)
            case facts.Terminated():
                wants = "end"
            case facts.PermissionReplied():
                wants = "known"
        parties = (asks, stranger, _pseudonym(getattr(fact, "consumer", "")))
        args = (
            call_id,
            identity,
            fact.epoch,
            bare(fact),
            wants,
            answer_by_ms,
            self.retention_ms,
            *parties,
            self.log_ms,
        )
        verdict, _seq = await self._route.run(self.wire, [hash_of(call_id)], args)
        refuse_forgotten(verdict, call_id)
        return _ROUTED[verdict]

    async def beat(
        self, worker: str = "", *, lease_ms: int, capacity: int | None = None, join: bool = False, handled: str = ""
    ) -> int:
        """Renew the worker's lease, look after everybody's calls, and return the server's time, Unix milliseconds.

        Without a worker it only looks after calls, so that they are cared for when no media worker lives. `capacity` of
        none takes no new calls. `handled` is the id of the last inbox entry that may be forgotten.

        Raises:
            LeaseLost: the worker was reaped: its calls have other owners.
            RedisForgot: Redis was emptied since the worker joined.
        """
        slots = "" if capacity is None else capacity
        args = (worker, lease_ms, slots, int(join), handled, CALLS_PER_BEAT, self.log_ms, self._memory)
        verdict, now_ms, memory = await self._beat.run(self.wire, [f"{PREFIX}workers"], args)
        if verdict == b"forgotten":
            raise RedisForgot(f"Redis was emptied: it knows neither worker {worker} nor its calls")
        if verdict == b"fenced":
            raise LeaseLost(f"worker {worker} was away for longer than its lease; its calls have new owners")
        self._memory = memory if join else self._memory
        self._ahead_ms = int(now_ms) - unix_ms()
        return int(now_ms)

    def now_ms(self) -> int:
        """Return the server's clock as last learned from `beat`: the one clock that times every process, Unix ms."""
        return unix_ms() + self._ahead_ms

    async def look_after(self, *, lease_ms: int) -> NoReturn:
        """Look after everybody's calls every second, so that they are cared for when no media worker lives."""
        while True:
            with contextlib.suppress(RedisAway):
                await self.beat(lease_ms=lease_ms)
            await asyncio.sleep(LOOK_AFTER_EVERY_S)

    async def arm(self, call_id: str, worker: str, epoch: int, deadline_ms: int | None, *, seq: int) -> None:
        """Set or clear the deadline that follows from entry `seq`; when it passes, `beat` appends `DeadlinePassed`."""
        args = (call_id, worker, epoch, deadline_ms or "", seq)
        verdict = await self._arm.run(self.wire, [hash_of(call_id)], args)
        refuse_forgotten(verdict, call_id)
        if verdict == b"stale":
            raise LeaseLost(f"call {call_id} has another owner than epoch {epoch}")

    async def fence(self, call_id: str, epoch: int, action: str, token: str, *, probe: bool = False) -> Fenced:
        """Ask whether this epoch may send this action to Graph; for `accept`, claim its one grant."""
        args = (call_id, epoch, action, token, int(probe))
        return Fenced((await self._fence.run(self.wire, [hash_of(call_id)], args)).decode())

    async def handoff(self, call_id: str, worker: str, epoch: int, *, anyway: bool = False) -> bool:
        """Return a call that was not accepted; False if it has moved on and stays.

        `anyway` returns an accepted one too, for somebody else to end.
        """
        args = (call_id, worker, epoch, _encode(facts.HandedBack(worker=worker)), int(anyway))
        verdict = await self._handoff.run(self.wire, [hash_of(call_id)], args)
        return verdict in (b"placed", b"waiting")

    async def done(
        self,
        call_id: str,
        worker: str,
        epoch: int,
        outcome: str,
        *,
        owes_metrics: bool = False,
        answer_ms: int | None = None,
    ) -> None:
        """Close the call, count it and free its slot; its metrics are owed to Meta if that has an id of it beside ours.

        `answer_ms` is how long a caller waited until both could speak.
        """
        waited = "" if answer_ms is None else int(float(f"{answer_ms:.2g}"))
        fact = facts.Closed(outcome=outcome)
        args = (
            call_id,
            worker,
            epoch,
            _encode(fact),
            self.retention_ms,
            outcome,
            int(owes_metrics),
            waited,
            self.log_ms,
        )
        verdict = await self._done.run(self.wire, [hash_of(call_id)], args)
        refuse_forgotten(verdict, call_id)
        if verdict == b"stale":
            raise LeaseLost(f"call {call_id} has another owner than epoch {epoch}")

    async def restore(self, call_id: str, worker: str, epoch: int, entries: Sequence[LogEntry]) -> bool:
        """Write the log of a call that we own into an emptied Redis; it stays ours.

        False if somebody was given the call as a new one meanwhile.
        """
        told = [entry.fact for entry in entries]
        known = remembered(told)
        answer_by_ms = "" if known.answer_by_ms is None else known.answer_by_ms
        asking = party_of(*known.waits_for) if known.waits_for else ""
        restored = (_encode(facts.LogRestored()), known.meta_id, asking, int(known.may_have_asked))
        listed = (_pseudonym(known.consumer), self.log_ms)
        log = [part for fact in told for part in (bare(fact), fact.at_ms, fact.epoch)]
        args = (call_id, worker, epoch, int(known.may_be_granted), answer_by_ms, *restored, *listed, *log)
        return bool(await self._restore.run(self.wire, [hash_of(call_id)], args) != b"known")

    async def follow(self, worker: str, *, after: str = "0-0") -> AsyncIterator[list[Delivery]]:
        """Yield what arrives in the worker's inbox, in order, as it comes, or nothing once a second.

        The connection waits meanwhile, so this wants a bus of its own.
        """
        last = after
        inbox = f"{PREFIX}in:{worker}"
        while True:
            reply = await self.wire.call("XREAD", "COUNT", 500, "BLOCK", 1000, "STREAMS", inbox, last, timeout_s=5.0)
            if not reply:
                yield []
                continue
            deliveries = [delivery(entry_id, fields) for entry_id, fields in reply[0][1]]
            last = deliveries[-1].id
            yield deliveries

    async def read_log(self, call_id: str) -> list[LogEntry]:
        """Return everything that happened to the call, in order; empty for an unknown call."""
        return [log_entry(*entry) for entry in await self.wire.call("XRANGE", f"{PREFIX}log:{call_id}", "-", "+")]

    async def recent_calls(self, *, limit: int = 100) -> list[str]:
        """Return the ids of the calls, the latest first."""
        found = await self.wire.call("ZREVRANGE", f"{PREFIX}index", 0, limit - 1)
        return [call_id.decode() for call_id in found]

    async def census(self) -> Census:
        """Count workers, slots and calls, for readiness, metrics and the command line."""
        return await census.take(self.wire, PREFIX)

    async def bury(self, letter: Letter) -> None:
        """Keep what could not be read or done, whole, with the reason."""
        await self.dead_letters.bury(letter)

    async def dead_letter_counts(self) -> dict[str, int]:
        """Return how many dead letters were ever buried, by reason."""
        return (await self.dead_letters.standing()).buried

    async def enqueue(
        self, queue: str, function: str, args: Sequence[str | int], *, job_id: str, within_s: int
    ) -> None:
        """Give the action worker a job, once for each `job_id`; see `shared.jobs`."""
        await jobs.enqueue(self.wire, queue, function, args, job_id=job_id, timeout_s=within_s)

    async def stash(self, digest: str, body: bytes, signature: bytes, *, ttl_s: int) -> None:
        """Keep a webhook body until it was passed on; one that was already, and comes again, is not kept again."""
        key = STASH + digest
        await self.wire.transaction(
            [("HSETNX", key, "signature", signature), ("HSETNX", key, "body", body), ("EXPIRE", key, ttl_s)]
        )

    async def stashed(self, digest: str) -> tuple[bytes, bytes] | None:
        """Return a stashed body and its signature header; none where it was passed on, or is no longer kept."""
        body, signature = await self.wire.call("HMGET", STASH + digest, "body", "signature")
        return (body, signature) if body else None

    async def passed_on(self, digest: str, *, ttl_s: int) -> None:
        """Forget a stashed body, but not that it came."""
        key = STASH + digest
        await self.wire.transaction([("HSET", key, "body", b"", "signature", b""), ("EXPIRE", key, ttl_s)])


def script(name: str) -> Script:
    """Return a step by name."""
    lua = files("shared") / "lua"
    return Script((lua / "prelude.lua").read_text() + (lua / f"{name}.lua").read_text())


def hash_of(call_id: str) -> str:
    """Return the key of what is known of a call beside its log."""
    return f"{PREFIX}call:{call_id}"


def _pseudonym(consumer: str) -> str:
    return pseudonym(consumer) if consumer else ""


def party_of(page: str, consumer: str) -> str:
    """Name a consumer, whose id holds for one Page only."""
    return f"{page}:{consumer}"


def refuse_forgotten(verdict: bytes, call_id: str) -> None:
    """Raise `RedisForgot` where a step says so."""
    if verdict == b"forgotten":
        raise RedisForgot(f"Redis was emptied: it does not know call {call_id} any more")
