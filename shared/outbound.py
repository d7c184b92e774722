"""The steps that only calls we place need; see `shared/bus.py`.

place     ask for a call, once for each idempotency key
shelve    let go of a call until something happens to it
adopt     bind a call to Meta's id
seek      find the call that Meta may have made of a `connect` without a reply

pl:{0}:placed:<digest of the key>    "<call> <digest of what was asked>", for `KEY_KEPT_S`
"""

import asyncio
import hashlib
import random
from typing import Final, NamedTuple

from shared.bus import PREFIX, Bus, Routed, hash_of, party_of, refuse_forgotten, script
from shared.calls import facts
from shared.entries import bare
from shared.errors import LeaseLost, PagelineError
from shared.line import RING_S, WITHIN_ASKED_S, WITHIN_S

KEY_KEPT_S: Final = 24 * 3600
"""A request that is repeated with the same idempotency key within a day is the same request."""

OURS: Final = "o_"
"""What the ids of calls we place begin with; Meta's begin with `c_`."""

_ULID_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class KeyReused(PagelineError):
    """The idempotency key came with another request before."""


class Adoption(NamedTuple):
    """What `adopt` made of a call."""

    verdict: str
    """`adopted`, `known` (it was before), `closed` (nobody has it any more), or `other`: the id is another call's."""
    joined: int
    """Facts that had overtaken the reply."""


class Outbound:
    """The steps, on a bus. Every method raises `RedisAway` when the server did not confirm; repeating does no harm."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._shelve = script("shelve")
        self._adopt = script("adopt")
        self._seek = script("seek")

    def wanted(
        self,
        page: str,
        consumer: str,
        *,
        handler: str = "",
        ask_permission: bool = False,
        within_s: float | None = None,
        ring_s: float = RING_S,
    ) -> facts.Placed:
        """Return the wish for a call, on the server's clock; without `within_s` for a minute, or a day where asked."""
        if within_s is None:
            within_s = WITHIN_ASKED_S if ask_permission else WITHIN_S
        return facts.Placed(
            page=page,
            consumer=consumer,
            call_by_ms=self._bus.now_ms() + int(within_s * 1000),
            handler=handler,
            ask_permission=ask_permission,
            ring_s=ring_s,
        )

    async def place(self, placed: facts.Placed, *, key: str = "") -> str:
        """Ask for a call and return its id, once for each `key`, wherever it was given.

        Raises:
            KeyReused: the key came before, for another consumer, another handler, or with another word about asking.
        """
        call_id = new_id(self._bus.now_ms())
        if key:
            digest = _digest(placed.page, placed.consumer, placed.handler, str(placed.ask_permission))
            kept = f"{PREFIX}placed:{_digest(key)}"
            # two steps, for SET knows no NX together with GET before Redis 7
            new = await self._bus.wire.call("SET", kept, f"{call_id} {digest}", "NX", "EX", KEY_KEPT_S)
            known = None if new else await self._bus.wire.call("GET", kept)
            if known is not None:
                call_id, _, known_digest = known.decode().partition(" ")
                if known_digest != digest:
                    raise KeyReused(
                        f"This idempotency key was used for call {call_id}, and for another request. "
                        "Choose another key for another call."
                    )
        await self._bus.route(call_id, placed, identity="placed")
        return call_id

    async def shelve(self, call_id: str, worker: str, epoch: int, *, seq: int, deadline_ms: int) -> bool:
        """Let go of a call until something happens to it, at the latest until `deadline_ms`.

        False if something has happened, since entry `seq` of its log.
        """
        args = (call_id, worker, epoch, bare(facts.HandedBack(worker=worker)), seq, deadline_ms)
        verdict = await self._shelve.run(self._bus.wire, [hash_of(call_id)], args)
        refuse_forgotten(verdict, call_id)
        if verdict == b"stale":
            raise LeaseLost(f"call {call_id} has another owner than epoch {epoch}")
        return bool(verdict == b"shelved")

    async def adopt(self, call_id: str, answered: facts.ConnectAnswered) -> Adoption:
        """Bind a call we placed to Meta's id, which `answered` tells, whoever owns the call now.

        Facts heard under that id before join its log after `answered`, later ones go there.
        """
        args = (call_id, answered.meta_id, bare(answered), self._bus.retention_ms)
        verdict, joined = await self._adopt.run(self._bus.wire, [hash_of(call_id)], args)
        refuse_forgotten(verdict, call_id)
        return Adoption(verdict.decode(), int(joined))

    async def seek(self, call_id: str, page: str, consumer: str, *, for_ms: int) -> str:
        """Look for the call that Meta may have made of a `connect` without a reply, and adopt it now or when it shows.

        Returns Meta's id, or "" while there is none.
        """
        args = (call_id, party_of(page, consumer), for_ms, self._bus.retention_ms)
        found: bytes = await self._seek.run(self._bus.wire, [hash_of(call_id)], args)
        return found.decode()

    async def permission_replied(self, page: str, consumer: str, reply: facts.PermissionReplied) -> int:
        """Bring a consumer's answer to every call that may wait for it, and return to how many."""
        asking = f"{PREFIX}asking:{party_of(page, consumer)}"
        waiting = await self._bus.wire.call("SMEMBERS", asking)
        identity = f"permission:{reply.response}:{reply.replied_at_ms}"
        routed = await asyncio.gather(*(self._bus.route(call.decode(), reply, identity=identity) for call in waiting))
        over = [call for call, each in zip(waiting, routed, strict=True) if each is Routed.LOGGED]
        if over:
            await self._bus.wire.call("SREM", asking, *over)
        return sum(each in (Routed.DELIVERED, Routed.PLACED, Routed.WAITING) for each in routed)


async def ours_of(bus: Bus, call_id: str) -> str:
    """Return the id under which a call is kept: ours where it is Meta's id of a call that we placed."""
    ours = await bus.wire.call("HGET", hash_of(call_id), "as")
    return call_id if ours is None else str(ours.decode())


def new_id(now_ms: int) -> str:
    """Return an id for a call we place: `o_` and a ULID, which sorts by time."""
    number = now_ms << 80 | random.getrandbits(80)
    return OURS + "".join(_ULID_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def is_ours(call_id: str) -> bool:
    """Tell whether the id is ours, and Meta knows the call by another."""
    return call_id.startswith(OURS)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
