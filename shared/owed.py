"""Calls whose metrics are still owed to Meta: the duty of every call that Meta was asked to connect.

    pl:{0}:owed          zset    call -> when to report it next, Unix ms; `done` puts it there with the call's end;
                                 gone a day after the last one
    pl:owed:mute:<page>  string  the Page has no such edge at Graph; for as long as it lasts

A call leaves when Meta has its metrics, or will not have them. Whoever dies in between leaves it where it is.
"""

from typing import Final

from shared.wire import Wire

OWED: Final = "pl:{0}:owed"
MUTED_FOR_S: Final = 3600


class Owed:
    """The duties, over one connection. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def due(self, now_ms: int, *, most: int) -> list[str]:
        """Return calls to report now, the longest owed first."""
        found = await self._wire.call("ZRANGEBYSCORE", OWED, "-inf", now_ms, "LIMIT", 0, most)
        return [call_id.decode() for call_id in found]

    async def due_ms(self, call_id: str) -> int | None:
        """Return when to report a call, Unix milliseconds; none where nothing is owed."""
        at_ms = await self._wire.call("ZSCORE", OWED, call_id)
        return None if at_ms is None else int(float(at_ms))

    async def put_off(self, call_id: str, until_ms: int) -> None:
        """Report a call later, if it is owed still."""
        await self._wire.call("ZADD", OWED, "XX", until_ms, call_id)

    async def settle(self, call_id: str) -> None:
        """Nothing is owed for a call any more."""
        await self._wire.call("ZREM", OWED, call_id)

    async def count(self) -> int:
        """Return for how many calls it is owed."""
        return int(await self._wire.call("ZCARD", OWED))

    async def mute(self, page: str) -> None:
        """Note that Graph knows no metrics of a Page's calls, for an hour."""
        await self._wire.call("SET", _mute(page), 1, "EX", MUTED_FOR_S)

    async def is_muted(self, page: str) -> bool:
        """Tell whether Graph said within the hour that it knows none."""
        return bool(await self._wire.call("EXISTS", _mute(page)))


def _mute(page: str) -> str:
    return f"pl:owed:mute:{page}"
