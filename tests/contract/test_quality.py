"""The stream of a call's quality samples: bounded, read as written, and gone when the call's log goes."""

import asyncio
from collections import Counter

import pytest

from shared import quality
from shared.bus import PREFIX, Bus
from shared.quality import KEPT_SAMPLES, Sample
from tests.contract.test_bus import CALL, bus, join, ring

__all__ = ["bus"]

RETENTION_HOURS = 48
NODE = 100
"""Entries that Redis keeps together (stream-node-max-entries); it trims whole nodes."""


async def add(bus: Bus, sample: Sample, *, call_id: str = CALL) -> None:
    await quality.add(bus.wire, {call_id: sample}, Counter(), kept_hours=RETENTION_HOURS)


async def ends_in_ms(bus: Bus, kind: str) -> int:
    return int(await bus.wire.call("PTTL", f"{PREFIX}{kind}:{CALL}"))


async def test_samples_are_read_as_they_were_written(bus: Bus) -> None:
    first = Sample(packets_received=250, packets_lost=3, jitter_ms=2.25, round_trip_ms=None, mos_estimate=4.31)
    await add(bus, first)
    await add(bus, Sample())
    await add(bus, Sample(packets_lost=1), call_id="c_2")
    read = await quality.read(bus.wire, CALL)
    assert [(each.packets_received, each.packets_lost, each.jitter_ms, each.mos_estimate) for each in read] == [
        (250, 3, 2.25, 4.31),
        (None, None, None, None),
    ]
    assert read[0].at_ms == pytest.approx(await bus.beat(lease_ms=1000), abs=2000)
    assert await quality.read(bus.wire, "c_unheard_of") == []


async def test_a_stream_of_samples_is_bounded_and_the_latest_are_kept(bus: Bus) -> None:
    await asyncio.gather(*(add(bus, Sample(packets_sent=number)) for number in range(2 * KEPT_SAMPLES)))
    read = await quality.read(bus.wire, CALL)
    assert KEPT_SAMPLES <= len(read) <= KEPT_SAMPLES + NODE
    assert read[-1].packets_sent == 2 * KEPT_SAMPLES - 1


async def test_samples_go_when_the_log_goes(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await add(bus, Sample(packets_lost=1))
    await bus.wire.call("PEXPIRE", quality.PREFIX + CALL, 1_000)  # as if the last sample were old
    await bus.done(CALL, "one", 1, "completed")
    assert await ends_in_ms(bus, "quality") == pytest.approx(await ends_in_ms(bus, "log"), abs=1_000)


async def test_samples_that_come_after_the_end_do_not_stay_for_ever(bus: Bus) -> None:
    await join(bus, "one")
    await ring(bus)
    await bus.done(CALL, "one", 1, "completed")
    await add(bus, Sample(packets_lost=1))
    assert 0 < await ends_in_ms(bus, "quality") <= RETENTION_HOURS * 3_600_000


async def test_the_figures_of_calls_that_ended_are_counted_by_how_high_they_were(bus: Bus) -> None:
    ended: Counter[tuple[str, str]] = Counter()
    for mos, lost in ((4.35, 0.0), (4.1, 3.0), (None, 80.0)):
        quality.count(ended, {"mos_estimate": mos, "lost_percent": lost})
    for _ in range(2):
        await quality.add(bus.wire, {}, ended, kept_hours=RETENTION_HOURS)
    spreads = await quality.spreads(bus.wire)
    assert set(spreads) == {"mos_estimate", "lost_percent"}, "figures that no call had are left out"
    assert spreads["mos_estimate"].buckets[-3:] == [("4.2", 2), ("4.3", 2), ("+Inf", 4)]
    assert dict(spreads["lost_percent"].buckets) == {
        "0.1": 2, "0.5": 2, "1.0": 2, "2.0": 2, "5.0": 4, "10.0": 4, "20.0": 4, "50.0": 4, "+Inf": 6
    }  # fmt: skip
    assert spreads["mos_estimate"].sum == pytest.approx(2 * 8.45)
