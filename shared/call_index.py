"""The index of calls by time: whose logs are still kept."""

from typing import Final

from shared.bus import PREFIX
from shared.wire import Wire

INDEX: Final = f"{PREFIX}index"
AT_ONCE: Final = 1000


async def calls_between(wire: Wire, from_ms: int, to_ms: int) -> list[str]:
    """Return the calls first heard of from then on and before that, Unix milliseconds, in this order.

    Raises:
        RedisAway: Redis did not confirm.
    """
    found: list[str] = []
    while True:  # backwards: the oldest may go meanwhile
        limit = ("LIMIT", len(found), AT_ONCE)
        page = await wire.call("ZREVRANGEBYSCORE", INDEX, f"({to_ms}", from_ms, *limit)
        found += [call_id.decode() for call_id in page]
        if len(page) < AT_ONCE:
            return found[::-1]
