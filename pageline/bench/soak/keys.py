"""What is in Redis, by kind of key: history grows with the calls until it expires, everything else stays small."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Final

from shared.wire import Wire

SIZE_OF: Final = {b"stream": "XLEN", b"zset": "ZCARD", b"set": "SCARD", b"hash": "HLEN", b"list": "LLEN"}
HISTORY: Final = frozenset({"log", "call", "index", "ended", "job", "results", "finished", "executions"})
"""Kinds of ours and of RQ's that are kept for a time after a call, and then expire."""


async def sizes(wire: Wire) -> Counter[str]:
    """Return how many entries there are of each kind of key, history left out."""
    counted: Counter[str] = Counter()
    async for key, kind in _keys(wire):
        if kind not in HISTORY:
            command = SIZE_OF.get(await wire.call("TYPE", key))
            counted[kind] += int(await wire.call(command, key)) if command else 1
    return counted


async def used_bytes(wire: Wire) -> int:
    """Return the memory of what the server keeps for us."""
    told: bytes = await wire.call("INFO", "memory")
    fields = dict(line.split(":", 1) for line in told.decode().split() if ":" in line)
    return int(fields["used_memory_dataset"])


def grown(before: Mapping[str, int], after: Mapping[str, int], by_more_than: int) -> dict[str, list[int]]:
    """Return the kinds that hold more than before, with both counts."""
    found = {kind: [before.get(kind, 0), count] for kind, count in after.items()}
    return {kind: counts for kind, counts in found.items() if counts[1] - counts[0] > by_more_than}


async def _keys(wire: Wire) -> AsyncIterator[tuple[bytes, str]]:
    cursor = b"0"
    while True:
        cursor, keys = await wire.call("SCAN", cursor, "COUNT", 1000)
        for key in keys:
            yield key, _kind(key.decode(errors="replace"))
        if cursor == b"0":
            return


def _kind(key: str) -> str:
    """Return the part of a key that says what it is for: `log` of `a:{0}:log:c_1`, `job` of `rq:job:1`."""
    parts = [part for part in key.split(":") if not part.startswith("{")]
    return parts[1] if len(parts) > 1 else key
