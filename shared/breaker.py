"""Which Pages Graph refuses, and whose limits are nearly used up: shown by the web process, gating no call.

    pl:breaker:pages     set   Pages of which there may be something to say
    pl:breaker:run:<page>    hash  run (actions given up since the last success), because
    pl:breaker:usage:<page>    hash  percent, because; for as long as it lasts
    pl:breaker:pause:<page>    string  there while what may wait has to

Every call is tried all the same: the next one is the probe that closes the breaker again. Decided in
docs/decisions/0004-dead-letters.md. Near a limit of Graph's all workers leave what can wait undone for a while, so that
what is left of the limit is there for callers.
"""

import asyncio
from typing import Final, NamedTuple

from shared import log
from shared.wire import Wire

TRIPS_AT: Final = 5
"""So many actions in a row; one may be the call's own fault, five are the Page's."""

REMEMBERED_S: Final = 24 * 3600
"""A Page that is called once an hour trips it too."""

PAGES: Final = "pl:breaker:pages"

_log = log.get()


class Trouble(NamedTuple):
    """What is wrong with Graph for one Page; `run` is 0, or `percent` is, where that is not it."""

    page: str
    run: int
    because: str
    percent: float
    usage: str

    @property
    def tripped(self) -> bool:
        """Tell whether the breaker is open."""
        return self.run >= TRIPS_AT


class Breaker:
    """One breaker per Page, over one connection. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def refused(self, page: str, because: str) -> None:
        """Count an action that was given up; `because` is shown: the cause and the remedy."""
        run, *_ = await self._wire.transaction(
            [
                ("HINCRBY", _run(page), "run", 1),
                ("HSET", _run(page), "because", because),
                ("EXPIRE", _run(page), REMEMBERED_S),
                *_remember(page),
            ]
        )
        if run == TRIPS_AT:  # of all workers, one counts to it
            _log.error("breaker.tripped", page=page, in_a_row=run, because=because)

    async def succeeded(self, page: str) -> None:
        """Close the Page's breaker."""
        run, _ = await self._wire.transaction([("HGET", _run(page), "run"), ("DEL", _run(page))])
        if int(run or 0) >= TRIPS_AT:
            _log.info("breaker.reset", page=page, refused=int(run))

    async def crowded(self, page: str, percent: float, because: str, *, for_s: float) -> None:
        """Note that a limit of Graph's is nearly used up."""
        key = _usage(page)
        note = ("HSET", key, "percent", percent, "because", because)
        await self._wire.transaction([note, ("EXPIRE", key, int(for_s)), *_remember(page)])

    async def pause(self, page: str, *, for_s: float) -> None:
        """Let everything about this Page wait that may; the latest word counts."""
        await self._wire.call("SET", _pause(page), 1, "PX", max(1, int(for_s * 1000)))

    async def paused_s(self, page: str) -> float:
        """Return how long everything about this Page has to wait that may; 0 where it need not."""
        left_ms: int = await self._wire.call("PTTL", _pause(page))
        return max(0, left_ms) / 1000

    async def troubles(self) -> list[Trouble]:
        """Return what there is to say of each Page."""
        pages = sorted(page.decode() for page in await self._wire.call("SMEMBERS", PAGES))
        read = await asyncio.gather(*(self._trouble(page) for page in pages))
        return [trouble for trouble in read if trouble.run or trouble.percent]

    async def _trouble(self, page: str) -> Trouble:
        (run, because), (percent, usage) = await asyncio.gather(
            self._wire.send("HMGET", _run(page), "run", "because"),
            self._wire.send("HMGET", _usage(page), "percent", "because"),
        )
        return Trouble(page, int(run or 0), (because or b"").decode(), float(percent or 0), (usage or b"").decode())


def _remember(page: str) -> list[tuple[str | int, ...]]:
    return [("SADD", PAGES, page), ("EXPIRE", PAGES, REMEMBERED_S)]


def _run(page: str) -> str:
    return f"pl:breaker:run:{page}"


def _usage(page: str) -> str:
    return f"pl:breaker:usage:{page}"


def _pause(page: str) -> str:
    return f"pl:breaker:pause:{page}"
