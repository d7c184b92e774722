"""How much of what consumers say is missing when the network loses packets."""

import asyncio
from pathlib import Path
from typing import Any, Final, NamedTuple

from pageline.bench.media import probe, speech
from pageline.bench.media.contenders import OURS, STOCK
from pageline.bench.media.orders import Measure, Ring
from shared.bus import Bus
from shared.calls import facts
from shared.wire import Wire

SHARES: Final = (0.0, 0.05, 0.1, 0.2)
EXPECTED_LOSS_PERCENT: Final = 20
CALLS_PER_SHARE: Final = 3
STOCK_CALLS_PER_SHARE: Final = 1
"""It holds no more than a handful that are decoded and encoded."""
SECONDS: Final = 30.0


class Missed(NamedTuple):
    """What a playout had to make up."""

    speech: float
    """What was not silent of it, of the speech there was."""
    sound: float
    """All of it, pauses included, of all that was played."""


def ours(home: Path) -> dict[str, Missed]:
    """Return what our playout had to make up, by share of packets lost."""
    with probe.of(OURS, "answer", home) as ready:
        calls = _under_loss(ready, CALLS_PER_SHARE)
        ready.load.measure(Measure(SECONDS, ready.media.pid))
        ready.load.hang_up(probe.EVERYBODY)
        ready.load.measure(Measure(probe.SETTLES_S, ready.media.pid))
        return {name: asyncio.run(_made_up(ready.redis_url, ids)) for name, ids in calls.items()}


def stock(home: Path) -> dict[str, float]:
    """Return the share of frames that stock aiortc's receiver never gave, by share of packets lost.

    It plays them back, one packet for each. What it loses does not depend on what is said, so that the share of all
    frames is the share of speech as well.
    """
    with probe.of(STOCK, "answer", home) as ready:
        calls = _under_loss(ready, STOCK_CALLS_PER_SHARE)
        missing = ready.load.measure(Measure(SECONDS, ready.media.pid)).call_missing
        return {name: round(sum(missing[each] for each in ids) / len(ids), 4) for name, ids in calls.items() if ids}


def _under_loss(ready: probe.Probe, calls: int) -> dict[str, list[str]]:
    """Ring so many on lines of each share of loss; return their ids."""
    rung = {}
    for share in SHARES:
        order = Ring(calls, probe.CALLS_PER_S, loss=share, expected_loss_percent=EXPECTED_LOSS_PERCENT)
        rung[f"{share * 100:g}"] = ready.load.ring(order).call_ids
    ready.load.measure(Measure(probe.SETTLES_S, ready.media.pid))
    return rung


async def _made_up(redis_url: str, call_ids: list[str]) -> Missed:
    made_up_ms = silent_ms = played_ms = 0.0
    async with Wire.from_url(redis_url, name="pageline-bench") as wire:
        bus = Bus(wire)
        for call_id in call_ids:
            for entry in await bus.read_log(call_id):
                if isinstance(entry.fact, facts.LegClosed):
                    made_up_ms += entry.fact.concealed_ms or 0.0
                    silent_ms += entry.fact.silent_concealed_ms or 0.0
                    played_ms += entry.fact.played_ms or 0.0
    if not played_ms:
        return Missed(1.0, 1.0)
    spoken_ms = played_ms * speech.spoken_share(EXPECTED_LOSS_PERCENT)
    return Missed(round((made_up_ms - silent_ms) / spoken_ms, 4), round(made_up_ms / played_ms, 4))


def table(home: Path) -> dict[str, Any]:
    """Return both."""
    missed = ours(home)
    return {
        "seconds": SECONDS,
        OURS: {name: each.speech for name, each in missed.items()},
        STOCK: stock(home),
        "made_up": {name: each.sound for name, each in missed.items()},
    }
