"""Who is there and what waits: media workers, their slots, and the calls they hold."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from shared.wire import Wire


class WorkerCensus(NamedTuple):
    """One live media worker; a capacity of none is draining."""

    worker: str
    capacity: int | None
    held: int


class Census(NamedTuple):
    """Who is there and what waits."""

    workers: tuple[WorkerCensus, ...]
    waiting: int
    closed: Mapping[str, int]
    """Outcomes of all calls that were ever closed."""
    now_ms: int
    """The server's clock, Unix milliseconds."""


async def take(wire: Wire, prefix: str) -> Census:
    """Count; `prefix` is that of the bus's keys.

    Raises:
        RedisAway: Redis did not answer.
    """
    (now_s, now_us), waiting, closed = await asyncio.gather(
        wire.send("TIME"), wire.send("ZCARD", f"{prefix}wait"), wire.send("HGETALL", f"{prefix}closed")
    )
    now_ms = int(now_s) * 1000 + int(now_us) // 1000
    live = [name.decode() for name in await wire.call("ZRANGEBYSCORE", f"{prefix}workers", f"({now_ms}", "+inf")]
    workers = await asyncio.gather(*(_worker(wire, prefix, name) for name in live))
    outcomes = {outcome.decode(): int(count) for outcome, count in zip(closed[::2], closed[1::2], strict=True)}
    return Census(tuple(workers), int(waiting), outcomes, now_ms)


async def _worker(wire: Wire, prefix: str, name: str) -> WorkerCensus:
    capacity, held = await asyncio.gather(
        wire.send("HGET", f"{prefix}capacity", name), wire.send("SCARD", f"{prefix}own:{name}")
    )
    return WorkerCensus(name, None if capacity is None else int(capacity), int(held))
