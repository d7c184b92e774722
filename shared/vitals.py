"""How the processes are: what each weighs, how late the ticks of media workers run, and what all of them cost.

    pl:vitals       hash   `<kind>:<host>:<pid>` -> the last `Vital` it told, JSON
    pl:tally:cpu    hash   `<kind>` -> milliseconds of processor time that processes of that kind have taken

Media and action workers have no HTTP, so they tell Redis, and the web process shows them. Nothing here is needed to
carry a call: what Redis does not confirm is lost.
"""

import asyncio
import contextlib
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec

from shared.errors import RedisAway
from shared.wire import ReplyError, Wire

KEY: Final = "pl:vitals"
CPU: Final = "pl:tally:cpu"
TOLD_EVERY_S: Final = 5.0
GONE_AFTER_MS: Final = 15_000
"""A process of which nothing was heard for so long is none any more."""


class Vital(msgspec.Struct, frozen=True, kw_only=True):
    """What one process last told."""

    kind: str
    """`web`, `media` or `action`."""
    at_ms: int
    rss_bytes: int
    late_p95_ms: float | None = None
    late_max_ms: float | None = None


class Vitals(NamedTuple):
    """How all processes are."""

    living: list[Vital]
    cpu_s: dict[str, float]
    """Of all processes of a kind since Redis has been there, those that are gone included."""


class Pulse:
    """Tells every few seconds how this process is.

    `late_ms` returns how late its ticks ran, all but the latest twentieth and the latest of all, in milliseconds.
    """

    def __init__(
        self, kind: str, wire: Wire, now_ms: Callable[[], int], late_ms: Callable[[], tuple[float, float]] | None = None
    ) -> None:
        self._kind = kind
        self._name = f"{kind}:{socket.gethostname()}:{os.getpid()}"
        self._wire = wire
        self._now_ms = now_ms
        self._late_ms = late_ms
        self._cpu_ms = 0

    async def keep_telling(self) -> NoReturn:
        """Tell until cancelled."""
        while True:
            with contextlib.suppress(RedisAway, ReplyError):
                await self.tell()
            await asyncio.sleep(TOLD_EVERY_S)

    async def tell(self) -> None:
        """Tell once."""
        p95_ms, max_ms = self._late_ms() if self._late_ms is not None else (None, None)
        vital = Vital(
            kind=self._kind, at_ms=self._now_ms(), rss_bytes=rss_bytes(), late_p95_ms=p95_ms, late_max_ms=max_ms
        )
        cpu_ms = int(time.process_time() * 1000)
        since_ms, self._cpu_ms = cpu_ms - self._cpu_ms, cpu_ms
        told = msgspec.json.encode(vital)
        await self._wire.transaction([("HSET", KEY, self._name, told), ("HINCRBY", CPU, self._kind, since_ms)])


async def read(wire: Wire, now_ms: int) -> Vitals:
    """Return how all processes are, and forget those that are gone."""
    told, cpu = await asyncio.gather(wire.send("HGETALL", KEY), wire.send("HGETALL", CPU))
    living, gone = [], []
    for name, body in zip(told[::2], told[1::2], strict=True):
        vital = msgspec.json.decode(body, type=Vital)
        if now_ms - vital.at_ms < GONE_AFTER_MS:
            living.append(vital)
        else:
            gone.append(name)
    if gone:
        await wire.call("HDEL", KEY, *gone)
    return Vitals(living, {kind.decode(): int(ms) / 1000 for kind, ms in zip(cpu[::2], cpu[1::2], strict=True)})


def rss_bytes() -> int:
    """Return what this process holds in memory; where the system does not tell, the most that it ever held."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
