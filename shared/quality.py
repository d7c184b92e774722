"""How calls sounded: a bounded stream of samples for each call, and how the figures of all ended calls are spread.

    pl:{0}:quality:<call>   stream  one entry every few seconds while the call sounds, the same fields in each
    pl:tally:quality        hash    `<figure> <limit>` -> calls that ended with up to that, and no less than the limit
                                    before it; `<figure> sum` -> thousandths of all

Nothing here is needed to carry a call: what Redis does not confirm is lost. A stream is held to an hour's samples. It
goes when the call's log goes: `done` says when, and until then each sample puts its end off by as much.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from shared.wire import Argument, Reply, Wire

PREFIX: Final = "pl:{0}:quality:"
SPREAD: Final = "pl:tally:quality"

SAMPLE_EVERY_S: Final = 5.0
KEPT_SAMPLES: Final = 720
"""An hour's worth, and some more: Redis trims whole nodes of a stream."""

_MOS: Final = (1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.3)
_PERCENT: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_WAITED_MS: Final = (100.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0, 32000.0)
LIMITS: Final[Mapping[str, tuple[float, ...]]] = {
    "mos_estimate": _MOS,
    "sent_mos_estimate": _MOS,
    "lost_percent": _PERCENT,
    "peer_lost_percent": _PERCENT,
    "concealed_percent": _PERCENT,
    "jitter_ms": (2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0),
    "round_trip_ms": (25.0, 50.0, 100.0, 200.0, 400.0, 800.0),
    "answer_ms": _WAITED_MS,
    "first_audio_ms": _WAITED_MS,
    "first_packet_ms": (25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1600.0),
}
"""Upper limits of the buckets of each figure."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the seconds since the sample before; None where there was nothing to measure by."""

    at_ms: int = 0
    """The server's clock, Unix milliseconds; set when it is read."""
    packets_received: float | None = None
    packets_lost: float | None = None
    packets_sent: float | None = None
    jitter_ms: float | None = None
    round_trip_ms: float | None = None
    jitter_buffer_ms: float | None = None
    played_ms: float | None = None
    paused_ms: float | None = None
    concealed_ms: float | None = None
    recovered_ms: float | None = None
    peer_lost: float | None = None
    peer_lost_of: float | None = None
    mos_estimate: float | None = None
    sent_mos_estimate: float | None = None


MEASURED: Final = Sample.__struct_fields__[1:]


class Spread(NamedTuple):
    """How one figure of the calls that ended is spread."""

    buckets: list[tuple[str, int]]
    """Upper limit, and how many calls had no more."""
    sum: float


async def add(wire: Wire, samples: Mapping[str, Sample], ended: Counter[tuple[str, str]], *, kept_hours: int) -> None:
    """Write the samples of many calls, and what was counted of those that ended, in one go.

    Raises:
        RedisAway: Redis did not confirm.
    """
    commands: list[tuple[Argument, ...]] = []
    for call_id, sample in samples.items():
        fields = (part for name in MEASURED for part in (name, _written(getattr(sample, name))))
        commands.append(("XADD", PREFIX + call_id, "MAXLEN", "~", KEPT_SAMPLES, "*", *fields))
        commands.append(("PEXPIRE", PREFIX + call_id, kept_hours * 3_600_000))
    commands += [("HINCRBY", SPREAD, f"{figure} {limit}", by) for (figure, limit), by in ended.items()]
    if commands:
        await wire.transaction(commands)


async def read(wire: Wire, call_id: str) -> list[Sample]:
    """Return the samples of a call that are still kept, in order."""
    return [_sample(*entry) for entry in await wire.call("XRANGE", PREFIX + call_id, "-", "+")]


async def latest(wire: Wire, call_ids: Sequence[str]) -> dict[str, Sample]:
    """Return the last sample of each of these calls that has one."""
    found = await asyncio.gather(*(wire.send("XREVRANGE", PREFIX + each, "+", "-", "COUNT", 1) for each in call_ids))
    return {each: _sample(*entries[0]) for each, entries in zip(call_ids, found, strict=True) if entries}


def count(ended: Counter[tuple[str, str]], figures: Mapping[str, float | None]) -> None:
    """Count how a call ended; a figure that is none counts nowhere."""
    for figure, limits in LIMITS.items():
        value = figures.get(figure)
        if value is not None:
            ended[figure, next((f"{limit:g}" for limit in limits if value <= limit), "inf")] += 1
            ended[figure, "sum"] += round(value * 1000)


async def spreads(wire: Wire) -> dict[str, Spread]:
    """Return how the figures of all calls that ended are spread; figures that no call had are left out."""
    flat = await wire.call("HGETALL", SPREAD)
    counts = {field.decode(): int(by) for field, by in zip(flat[::2], flat[1::2], strict=True)}
    return {figure: _spread(figure, counts) for figure in LIMITS if f"{figure} sum" in counts}


def _spread(figure: str, counts: Mapping[str, int]) -> Spread:
    buckets, so_far = [], 0
    for limit in LIMITS[figure]:
        so_far += counts.get(f"{figure} {limit:g}", 0)
        buckets.append((str(limit), so_far))
    buckets.append(("+Inf", so_far + counts.get(f"{figure} inf", 0)))
    return Spread(buckets, counts[f"{figure} sum"] / 1000)


def _written(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2):g}"


def _sample(entry_id: bytes, fields: list[Reply]) -> Sample:
    named = {name.decode(): text for name, text in zip(fields[::2], fields[1::2], strict=True)}
    figures = {name: float(text) for name in MEASURED if (text := named.get(name))}
    return Sample(at_ms=int(entry_id.split(b"-")[0]), **figures)
