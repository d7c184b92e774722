"""The figures of a leg agree with what was done to its packets, and stay empty where the peer says nothing."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.calls.quality import judge
from tests.integration.test_leg import OURS, THEIRS, Far, call, ticks, until
from workers.media.session import LegFigures

SEED, LOSS = 4, 0.1
TICKS = 150


def is_rtcp(datagram: bytes) -> bool:
    """See RFC 5761 section 4."""
    return len(datagram) > 1 and 128 <= datagram[0] < 192 and 192 <= datagram[1] < 224


def is_rtp(datagram: bytes) -> bool:
    return len(datagram) > 1 and 128 <= datagram[0] < 192 and not is_rtcp(datagram)


def lose_on_the_way_to(far: Far, chance: random.Random) -> list[int]:
    """Lose packets of ours, but neither the first nor the last, which nobody could miss; return which."""
    receive: Callable[[], Awaitable[bytes]] = far.dtls.transport._recv
    lost: list[int] = []
    seen = 0

    async def receive_some() -> bytes:
        nonlocal seen
        while True:
            datagram = await receive()
            if not is_rtp(datagram):
                return datagram
            seen += 1
            if not 1 < seen < TICKS or chance.random() >= LOSS:
                return datagram
            lost.append(seen)

    far.dtls.transport._recv = receive_some
    return lost


def never_report(far: Far) -> None:
    send = far.dtls.transport._send

    async def send_some(datagram: bytes, *rest: Any) -> None:
        if not is_rtcp(datagram):
            await send(datagram, *rest)

    far.dtls.transport._send = send_some


@pytest.mark.meta("8-jitter", "8-packets")
async def test_figures_agree_with_the_packets_that_were_lost_both_ways() -> None:
    chance = random.Random(SEED)
    async with call(Far()) as (leg, far):
        lost_there = lose_on_the_way_to(far, chance)
        lost_here = sorted(chance.sample(range(5, TICKS - 5), 15))
        async for tick in ticks(TICKS):
            assert leg.send_packet(OURS[tick % len(OURS)])
            if tick in lost_here:
                far.skip()
            else:
                await far.send(THEIRS[tick % len(THEIRS)], tick)
            leg.pull()
        async for _ in ticks(4):  # what is still in the jitter buffer; no longer, or the end is concealed as well
            leg.pull()

        def told() -> LegFigures:
            return leg.figures()

        await until(lambda: (told().peer_lost, told().peer_lost_of) == (len(lost_there), TICKS))
        figures, quality = told(), judge(told())
    assert len(lost_there) > 5
    assert figures.packets_lost == len(lost_here)
    assert figures.packets_received == TICKS - len(lost_here)
    made_up_ms = (figures.concealed_ms or 0.0) + (figures.recovered_ms or 0.0)
    assert abs(made_up_ms - 20 * len(lost_here)) <= 40
    assert figures.silent_concealed_ms == 0
    assert figures.peer_lost_of == TICKS
    assert quality.peer_lost_percent == 100 * len(lost_there) / TICKS
    assert figures.round_trips >= 1
    assert figures.round_trip_min_ms is not None
    assert figures.round_trip_max_ms is not None
    assert 0 <= figures.round_trip_min_ms <= figures.round_trip_max_ms < 500
    assert quality.mos_estimate is not None
    assert quality.sent_mos_estimate is not None
    assert 2 < quality.mos_estimate < 4.3


async def test_a_peer_that_never_reports_leaves_its_figures_and_the_estimates_empty() -> None:
    far = Far()
    never_report(far)
    async with call(far) as (leg, _):
        async for tick in ticks(100):  # it would have reported twice by now
            assert leg.send_packet(OURS[tick])
            await far.send(THEIRS[tick], tick)
            leg.pull()
        figures, quality = leg.figures(), judge(leg.figures())
    assert figures.peer_reports == 0
    unknown = (figures.round_trip_ms, figures.round_trip_min_ms, figures.peer_lost, figures.peer_jitter_ms)
    assert unknown == (None, None, None, None)
    assert (quality.mos_estimate, quality.sent_mos_estimate, quality.peer_lost_percent) == (None, None, None)
    assert quality.concealed_percent is not None


async def test_where_nothing_is_decoded_nothing_is_said_of_gaps() -> None:
    async with call(Far()) as (leg, far):
        leg.forward(leg)
        async for tick in ticks(20):
            if tick == 10:
                far.skip()
            else:
                await far.send(THEIRS[tick], tick)
        await until(lambda: leg.packets_sent == 19)
        figures = leg.figures()
    assert figures.packets_lost == 1
    assert (figures.concealed_ms, figures.silent_concealed_ms, figures.recovered_ms) == (None, None, None)
    assert (figures.late_packets, figures.jitter_buffer_ms) == (None, None)
    assert judge(figures).mos_estimate is None
