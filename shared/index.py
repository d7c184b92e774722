"""The index of calls: by time, by consumer, by hour of their end. Written by the steps of the bus, read here.

Every read is bounded: so many of the newest, and a place to go on from.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from shared.bus import PREFIX
from shared.entries import LogEntry, log_entry
from shared.wire import Wire

HOUR_MS: Final = 3_600_000
LOOKED_THROUGH_AT_ONCE: Final = 2_000
LISTED_AT_ONCE: Final = 1_000
READ_AT_ONCE: Final = 2_000
"""Entries of one log."""
INDEX: Final = f"{PREFIX}index"
WAITING: Final = f"{PREFIX}wait"


class Listed(NamedTuple):
    """A call in the index."""

    call_id: str
    at_ms: int
    """When it was first heard of, Unix milliseconds."""


class Hour(NamedTuple):
    """The calls that were closed within one hour."""

    began_ms: int
    outcomes: Mapping[str, int]
    answers: Mapping[int, int]
    """How many callers waited for so many ms, to two digits, from the webhook until both could speak."""


async def newest(wire: Wire, *, limit: int, before_ms: int | None = None) -> list[Listed]:
    """Return the calls first heard of before a time, or the last ones, the newest first.

    Those of one millisecond come together, even beyond the limit: a place to go on from is a time.
    """
    highest = "+inf" if before_ms is None else f"({before_ms}"
    found = _listed(await wire.call("ZREVRANGEBYSCORE", INDEX, highest, "-inf", "WITHSCORES", "LIMIT", 0, limit))
    if len(found) < limit:
        return found
    last_ms = found[-1].at_ms
    together = _listed(await wire.call("ZREVRANGEBYSCORE", INDEX, last_ms, last_ms, "WITHSCORES", "LIMIT", 0, 1_000))
    known = {each.call_id for each in found}
    return found + [each for each in together if each.call_id not in known]


async def calls_between(wire: Wire, from_ms: int, to_ms: int) -> list[str]:
    """Return the calls first heard of from then on and before that, Unix milliseconds, in this order.

    Raises:
        RedisAway: Redis did not confirm.
    """
    found: list[str] = []
    while True:  # backwards: the oldest may go meanwhile
        limit = ("LIMIT", len(found), LISTED_AT_ONCE)
        page = await wire.call("ZREVRANGEBYSCORE", INDEX, f"({to_ms}", from_ms, *limit)
        found += [call_id.decode() for call_id in page]
        if len(page) < LISTED_AT_ONCE:
            return found[::-1]


async def of_consumer(wire: Wire, pseudonym: str, *, limit: int) -> list[Listed]:
    """Return a consumer's calls, the newest first."""
    calls = f"{PREFIX}consumer:{pseudonym}"
    found = _listed(await wire.call("ZREVRANGE", calls, 0, limit - 1, "WITHSCORES"))
    if not found:
        return []
    kept = await wire.call("ZMSCORE", INDEX, *(each.call_id for each in found))
    return [each for each, score in zip(found, kept, strict=True) if score is not None]


async def beginning_with(wire: Wire, prefix: str, *, limit: int) -> list[Listed]:
    """Return calls whose ids begin so, the newest of those found first; the whole index is looked through."""
    pattern = "".join(f"\\{each}" if each in r"\[]*?^-" else each for each in prefix) + "*"
    found: dict[str, Listed] = {}
    cursor = "0"
    while len(found) < limit:
        cursor_bytes, flat = await wire.call("ZSCAN", INDEX, cursor, "MATCH", pattern, "COUNT", LOOKED_THROUGH_AT_ONCE)
        found |= {each.call_id: each for each in _listed(flat)}
        cursor = cursor_bytes.decode()
        if cursor == "0":
            break
    return sorted(found.values(), key=lambda each: each.at_ms, reverse=True)[:limit]


async def count(wire: Wire) -> int:
    """Return how many calls there are in the index."""
    return int(await wire.call("ZCARD", INDEX))


async def held_by(wire: Wire, workers: Sequence[str]) -> list[list[str]]:
    """Return the calls of each of these workers."""
    sets = await asyncio.gather(*(wire.send("SMEMBERS", f"{PREFIX}own:{worker}") for worker in workers))
    return [sorted(call.decode() for call in calls) for calls in sets]


async def waiting(wire: Wire, *, limit: int) -> list[str]:
    """Return calls without an owner, the most urgent first."""
    return [call.decode() for call in await wire.call("ZRANGE", WAITING, 0, limit - 1)]


async def news(wire: Wire, seqs: Mapping[str, int]) -> dict[str, list[LogEntry]]:
    """Return what was appended to the logs of calls after an entry of each; 0 for all of a log."""
    if not seqs:
        return {}
    logs, marks = (f"{PREFIX}log:{call_id}" for call_id in seqs), (f"{seq}-0" for seq in seqs.values())
    found = await wire.call("XREAD", "COUNT", READ_AT_ONCE, "STREAMS", *logs, *marks)
    return {
        key.decode().removeprefix(f"{PREFIX}log:"): [log_entry(*entry) for entry in entries]
        for key, entries in found or ()
    }


async def hours(wire: Wire, began_ms: Sequence[int]) -> list[Hour]:
    """Return the hours that began then, Unix milliseconds, full hours in UTC."""
    keys = (f"{PREFIX}hour:{each // HOUR_MS}" for each in began_ms)
    counts = await asyncio.gather(*(wire.send("HGETALL", key) for key in keys))
    return [_hour(each, flat) for each, flat in zip(began_ms, counts, strict=True)]


def _hour(began_ms: int, flat: Sequence[bytes]) -> Hour:
    outcomes: dict[str, int] = {}
    answers: dict[int, int] = {}
    for field, times in zip(flat[::2], flat[1::2], strict=True):
        what, _, value = field.decode().partition(" ")
        if what == "outcome":
            outcomes[value] = int(times)
        else:
            answers[int(value)] = int(times)
    return Hour(began_ms, outcomes, answers)


def _listed(flat: Sequence[bytes]) -> list[Listed]:
    return [Listed(call.decode(), int(float(score))) for call, score in zip(flat[::2], flat[1::2], strict=True)]
