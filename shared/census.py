"""Who is there and what waits: media workers and their slots, calls without an owner, outcomes so far."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.wire import Wire

DAY_MS: Final = 86_400_000
DEATHS_TOLD: Final = 10


class WorkerCensus(NamedTuple):
    """One live media worker; a capacity of none is draining."""

    worker: str
    capacity: int | None
    held: int


class Death(NamedTuple):
    """A media worker that was not heard of any more, for longer than its lease."""

    worker: str
    held: int
    """Its calls, which others got."""
    at_ms: int
    """When that was noticed, Unix ms."""


class Census(NamedTuple):
    """Who is there and what waits."""

    workers: tuple[WorkerCensus, ...]
    waiting: int
    closed: Mapping[str, int]
    """Outcomes of all calls that were ever closed."""
    waited_ms: int = 0
    """Since the most urgent call that waits was heard of; 0 where none waits."""
    deaths: tuple[Death, ...] = ()
    """Of the last day, the latest first, and not more than `DEATHS_TOLD`."""


async def take(wire: Wire, prefix: str) -> Census:
    """Count; `prefix` is that of the bus's keys."""
    now_s, now_us = await wire.call("TIME")
    now_ms = int(now_s) * 1000 + int(now_us) // 1000
    live = [w.decode() for w in await wire.call("ZRANGEBYSCORE", f"{prefix}workers", f"({now_ms}", "+inf")]
    waiting = int(await wire.call("ZCARD", f"{prefix}wait"))
    told, closed, dead, *held = await asyncio.gather(
        wire.send("HGETALL", f"{prefix}capacity"),
        wire.send("HGETALL", f"{prefix}closed"),
        wire.send("ZREVRANGE", f"{prefix}deaths", 0, DEATHS_TOLD - 1, "WITHSCORES"),
        *(wire.send("SCARD", f"{prefix}own:{worker}") for worker in live),
    )
    capacities = {name.decode(): int(slots) for name, slots in zip(told[::2], told[1::2], strict=True)}
    workers = [
        WorkerCensus(worker, capacities.get(worker), int(calls)) for worker, calls in zip(live, held, strict=True)
    ]
    outcomes = {outcome.decode(): int(count) for outcome, count in zip(closed[::2], closed[1::2], strict=True)}
    waited_ms = await _waited_ms(wire, prefix, now_ms) if waiting else 0
    deaths = (_death(name, int(float(at_ms))) for name, at_ms in zip(dead[::2], dead[1::2], strict=True))
    recent = tuple(death for death in deaths if death.at_ms > now_ms - DAY_MS)
    return Census(tuple(workers), waiting, outcomes, waited_ms, recent)


def _death(name: bytes, at_ms: int) -> Death:
    worker, _, held = name.decode().rpartition(" ")
    return Death(worker, int(held), at_ms)


async def _waited_ms(wire: Wire, prefix: str, now_ms: int) -> int:
    """Return since when the most urgent call waits that is not merely to be ended: those come first, at 0."""
    ringing = await wire.call("ZRANGEBYSCORE", f"{prefix}wait", "(0", "+inf", "LIMIT", 0, 1)
    heard_ms = await wire.call("ZSCORE", f"{prefix}index", ringing[0]) if ringing else None
    return 0 if heard_ms is None else max(0, now_ms - int(heard_ms))
