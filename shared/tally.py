"""What the workers count: they have no HTTP, so the sums are in Redis and the web process shows them.

    pl:tally:actions   hash   `<action> <how>` -> how often an action ended so
    pl:tally:replies   hash   `<action> <milliseconds>` -> replies that took up to that long, and no less than the limit
                              before it; `<action> sum` -> milliseconds of all
    pl:tally:handlers  hash   `<how>` -> how often a handler ended so

Counting costs no command: a worker adds what it has counted once every few seconds.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple, NoReturn

from shared.errors import RedisAway
from shared.wire import Reply, ReplyError, Wire

ACTIONS: Final = "pl:tally:actions"
REPLIES: Final = "pl:tally:replies"
HANDLERS: Final = "pl:tally:handlers"
ADDED_EVERY_S: Final = 2.0

LATENCIES_MS: Final = (50, 100, 200, 400, 800, 1_600, 3_200, 6_400)
"""Upper limits of the buckets; what took longer is only in the sum and in `inf`."""


class Latency(NamedTuple):
    """How long Graph's replies to one action took."""

    buckets: list[tuple[str, int]]
    """Upper limit in seconds, and how many took no longer."""
    sum_s: float


class Tallied(NamedTuple):
    """What all workers have counted since Redis has been there."""

    actions: dict[tuple[str, str], int]
    """How often each action ended how."""
    latencies: dict[str, Latency]
    handlers: dict[str, int]
    """How often handlers ended how."""


class Tally:
    """Counts in memory until it is added to what the others have counted."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def ended(self, action: str, how: str) -> None:
        """Count an action by how it ended."""
        self._counts[ACTIONS, f"{action} {how}"] += 1

    def replied(self, action: str, took_ms: int) -> None:
        """Count a reply of Graph's."""
        limit = next((str(limit_ms) for limit_ms in LATENCIES_MS if took_ms <= limit_ms), "inf")
        self._counts[REPLIES, f"{action} {limit}"] += 1
        self._counts[REPLIES, f"{action} sum"] += took_ms

    def handler_ended(self, how: str) -> None:
        """Count a handler by how it ended."""
        self._counts[HANDLERS, how] += 1

    async def add_to(self, wire: Wire) -> None:
        """Add what was counted to what all have counted; what Redis did not confirm is lost rather than added twice."""
        counts, self._counts = self._counts, Counter()
        if counts:
            await wire.transaction([("HINCRBY", key, field, by) for (key, field), by in counts.items()])

    async def keep_adding_to(self, wire: Wire) -> NoReturn:
        """Add every few seconds."""
        while True:
            await asyncio.sleep(ADDED_EVERY_S)
            with contextlib.suppress(RedisAway, ReplyError):
                await self.add_to(wire)


async def read(wire: Wire) -> Tallied:
    """Return what all workers have counted."""
    ended, replies, handlers = await asyncio.gather(
        *(wire.send("HGETALL", key) for key in (ACTIONS, REPLIES, HANDLERS))
    )
    counts = _counts(replies)
    timed = sorted({action for action, _ in counts})
    by_how = {how.decode(): int(count) for how, count in zip(handlers[::2], handlers[1::2], strict=True)}
    return Tallied(_counts(ended), {action: _latency(counts, action) for action in timed}, by_how)


def _counts(flat: Reply) -> dict[tuple[str, str], int]:
    fields = (field.decode().split(" ") for field in flat[::2])
    return {(action, what): int(count) for (action, what), count in zip(fields, flat[1::2], strict=True)}


def _latency(counts: Mapping[tuple[str, str], int], action: str) -> Latency:
    buckets, so_far = [], 0
    for limit_ms in LATENCIES_MS:
        so_far += counts.get((action, str(limit_ms)), 0)
        buckets.append((str(limit_ms / 1000), so_far))
    buckets.append(("+Inf", so_far + counts.get((action, "inf"), 0)))
    return Latency(buckets, counts.get((action, "sum"), 0) / 1000)
