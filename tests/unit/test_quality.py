"""What figures mean: shares, the E-model against ITU-T G.107's own numbers, and what stays unknown."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calls import facts
from shared.calls.quality import DEFAULT_R, judge, mos, rating
from workers.media.quality import closing, since
from workers.media.session import LegFigures

FIGURES = LegFigures(
    packets_received=990,
    packets_lost=10,
    packets_sent=1000,
    jitter_ms=3.0,
    round_trip_ms=60.0,
    concealed_ms=100.0,
    played_ms=20_000.0,
    jitter_buffer_ms=45.0,
    first_packet_ms=25.0,
    paused_ms=10_000.0,
    decoded_packets=990,
    peer_reports=8,
    peer_lost=50,
    peer_lost_of=1000,
)
DELAYS_MS = st.floats(0, 2_000)
LOSSES_PERCENT = st.floats(0, 100)


@pytest.mark.parametrize(
    ("r", "score"), [(DEFAULT_R, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)]
)
def test_ratings_become_the_scores_of_the_recommendation(r: float, score: float) -> None:
    """G.107 section 7.7 and table B.1."""
    assert mos(r) == pytest.approx(score, abs=0.01), "the table is rounded"


def test_a_score_is_between_1_and_4_and_a_half() -> None:
    assert (mos(-20), mos(0), mos(3), mos(100), mos(130)) == (1.0, 1.0, 1.0, 4.5, 4.5)


def test_up_to_100_ms_delay_costs_nothing_and_then_more_and_more() -> None:
    """The last two are Idd of G.107 section 7.4, worked out by hand."""
    costs = [rating(0, 0) - rating(delay_ms, 0) for delay_ms in (100, 200, 400)]
    assert costs == pytest.approx([0, 3.04, 24.07], abs=0.02)


def test_loss_costs_what_the_published_values_say() -> None:
    """At Bpl per cent lost, half of what Ie leaves of 95 is gone (G.107 section 7.5)."""
    assert DEFAULT_R - rating(0, 0) == pytest.approx(2.03)
    assert rating(0, 0) - rating(0, 15.95) == pytest.approx((95 - 2.03) / 2)


@settings(deadline=None)
@given(DELAYS_MS, DELAYS_MS, LOSSES_PERCENT, LOSSES_PERCENT)
def test_more_delay_or_more_loss_never_sounds_better(one_ms: float, other_ms: float, one: float, other: float) -> None:
    (short_ms, long_ms), (few, many) = sorted((one_ms, other_ms)), sorted((one, other))
    assert mos(rating(long_ms, few)) <= mos(rating(short_ms, few)) + 1e-9
    assert mos(rating(short_ms, many)) <= mos(rating(short_ms, few)) + 1e-9
    assert 1 <= mos(rating(long_ms, many)) <= 4.41


def test_figures_become_shares_and_estimates() -> None:
    quality = judge(FIGURES)
    assert (quality.lost_percent, quality.concealed_percent, quality.peer_lost_percent) == (1.0, 1.0, 5.0)
    assert quality.mos_estimate == pytest.approx(mos(rating(30 + 26.5 + 45, 1.0)))
    assert quality.sent_mos_estimate == pytest.approx(mos(rating(30 + 26.5, 5.0)))


@pytest.mark.parametrize(
    ("missing", "unknown"),
    [
        ({"round_trip_ms": None}, {"mos_estimate", "sent_mos_estimate"}),
        ({"concealed_ms": None, "played_ms": 0.0, "paused_ms": None}, {"concealed_percent", "mos_estimate"}),
        ({"jitter_buffer_ms": None}, {"mos_estimate"}),
        ({"peer_lost": None, "peer_lost_of": None}, {"peer_lost_percent", "sent_mos_estimate"}),
        ({"packets_received": 0, "packets_lost": 0}, {"lost_percent"}),
    ],
)
def test_what_was_not_measured_is_not_invented(missing: dict[str, Any], unknown: set[str]) -> None:
    quality = judge(replace(FIGURES, **missing))
    assert {name for name in quality.__slots__ if getattr(quality, name) is None} == unknown


def test_the_figures_of_a_while_are_differences_and_the_mean_delay_is_that_whiles() -> None:
    later = replace(
        FIGURES, packets_received=1240, packets_lost=12, concealed_ms=140.0, jitter_buffer_ms=50.0, decoded_packets=1240
    )
    between = since(FIGURES, later)
    assert (between.packets_received, between.packets_lost, between.concealed_ms) == (250, 2, 40.0)
    assert between.jitter_buffer_ms == pytest.approx((50 * 1240 - 45 * 990) / 250)
    assert between.round_trip_ms == 60.0
    assert since(None, later) is later


def test_a_log_written_before_there_were_these_figures_still_decodes() -> None:
    old = b'{"fact":"LegClosed","packets_received":50,"jitter_ms":1.5}'
    closed = msgspec.json.decode(old, type=facts.CallFact)
    assert closed == facts.LegClosed(packets_received=50, jitter_ms=1.5)


def test_a_leg_that_decoded_nothing_says_so_in_the_log() -> None:
    closed = closing(replace(FIGURES, concealed_ms=None, played_ms=0.0))
    again = msgspec.json.decode(msgspec.json.encode(closed), type=facts.CallFact)
    assert isinstance(again, facts.LegClosed)
    assert (again.concealed_ms, again.mos_estimate) == (None, None)
    assert again == closed
