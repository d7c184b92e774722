"""Samples of the calls that sound reach their streams in one write, and never stand in anybody's way."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from shared import quality
from shared.calls import facts
from shared.wire import Wire
from tests.unit.test_quality import FIGURES
from workers.media.leg import Leg
from workers.media.sampler import Sampler
from workers.media.session import LegFigures


class Measured(Leg):
    """A leg of which only the figures are asked."""

    def __init__(self, figures: LegFigures) -> None:
        self.measured = figures

    def figures(self) -> LegFigures:
        return self.measured


def sampler_of(wire: Wire, **legs: Measured) -> Sampler:
    return Sampler(wire, lambda: iter(legs.items()), kept_hours=48)


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    async with Wire.from_url(redis_url) as wire:
        yield wire


async def test_each_call_gets_samples_of_its_own_of_the_time_since_the_one_before(wire: Wire) -> None:
    one, two = Measured(FIGURES), Measured(replace(FIGURES, round_trip_ms=None))
    sampler = sampler_of(wire, c_1=one, c_2=two)
    await sampler.write()
    one.measured = replace(FIGURES, packets_received=1240, packets_lost=15)
    await sampler.write()
    first, second = await quality.read(wire, "c_1")
    assert (first.packets_received, first.packets_lost) == (990, 10)
    assert (second.packets_received, second.packets_lost) == (250, 5)
    assert first.mos_estimate is not None
    assert [each.mos_estimate for each in await quality.read(wire, "c_2")] == [None, None]


async def test_while_redis_is_away_samples_are_dropped_and_that_is_said_once(redis_url: str) -> None:
    wire = Wire.from_url(redis_url)
    await wire.connect()
    await wire.close()
    sampler = sampler_of(wire, c_1=Measured(FIGURES))
    with capture_logs() as logs:
        for _ in range(3):
            await sampler.write()
    assert sampler.dropped == 3
    assert [line["event"] for line in logs] == ["samples.dropped"]


async def test_calls_that_ended_are_counted_and_those_that_never_sounded_are_not(wire: Wire) -> None:
    sampler = sampler_of(wire)
    sampler.ended(facts.LegClosed())
    sampler.ended(facts.LegClosed(packets_received=90, packets_lost=10, jitter_ms=4.0))
    await sampler.write()
    spreads = await quality.spreads(wire)
    counted = {figure: spread.buckets[-1] for figure, spread in spreads.items()}
    assert counted == {"lost_percent": ("+Inf", 1), "jitter_ms": ("+Inf", 1)}
