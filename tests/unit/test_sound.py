"""What `pageline call` says of the sound: figures in words, and the likely reason why somebody heard nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pageline import sound
from shared.calls import facts
from shared.quality import Sample

CONNECTED_MS = 1_000
GOOD: dict[str, Any] = {
    "packets_received": 3000,
    "packets_sent": 3000,
    "played_ms": 60_000.0,
    "paused_ms": 20_000.0,
    "concealed_ms": 40.0,
    "jitter_buffer_ms": 45.0,
    "round_trip_ms": 60.0,
    "round_trip_min_ms": 50.0,
    "round_trip_max_ms": 90.0,
    "peer_reports": 20,
    "peer_lost": 3,
    "peer_lost_of": 3000,
    "mos_estimate": 4.36,
    "sent_mos_estimate": 4.35,
}


def log(**figures: Any) -> list[facts.Fact]:
    closed = facts.LegClosed(at_ms=CONNECTED_MS + 60_000, **{**GOOD, **figures})
    return [facts.LegConnected(at_ms=CONNECTED_MS, setup_ms=80), closed]


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({}, "nothing wrong"),
        ({"packets_sent": 0}, "The caller heard nothing: we sent nothing."),
        ({"packets_sent": 150}, "The caller heard silence"),
        ({"peer_reports": 0, "peer_lost": None, "peer_lost_of": None}, "the far side never reported"),
        ({"peer_lost": None, "peer_lost_of": None}, "reported 20 times and never that any of our 3000 packets arrived"),
        ({"peer_lost": 2990}, "The caller probably heard nothing: the far side says that 100 % of our packets"),
        ({"peer_lost": 300}, "The caller heard gaps: the far side says that 10 %"),
        ({"round_trip_ms": 700.0}, "talked over each other"),
        ({"packets_received": 0, "packets_lost": 0}, "We heard nothing: no packet of the caller's ever arrived."),
        ({"paused_ms": 59_000.0}, "hardly spoke, or was muted"),
        ({"concealed_ms": 8000.0}, "We heard gaps: 20 %"),
        ({"packets_lost": 1000}, "25 % of the caller's packets were lost"),
    ],
)
def test_figures_tell_why_somebody_heard_nothing(figures: dict[str, Any], said: str) -> None:
    reasons = sound.why(log(**figures))
    assert len(reasons) == 1
    assert said in reasons[0]


def test_without_a_connection_the_reason_is_that() -> None:
    refused = facts.LegFailed(reason="no media connection within 10 s; is outbound UDP allowed?")
    assert sound.why([refused]) == [f"Nobody heard anything: no media connection was made: {refused.reason}."]
    assert "goes on" in sound.why(log()[:1])[0]
    broken = [log()[0], facts.LegFailed(reason="the peer closed"), log()[1]]
    assert sound.why(broken) == ["The media connection broke: the peer closed."]


def test_closing_figures_are_told_in_words() -> None:
    told = dict(sound.told(facts.LegClosed(**GOOD, packets_lost=6)))
    assert told["we heard"] == "3000 packets, 6 lost (0.2 %); 0.1 % of the sound concealed; MOS estimate 4.4"
    assert told["the caller was sent"].endswith("3 lost (0.1 %), says the far side; MOS estimate at best 4.3")
    assert told["delay"] == "round trip 60 ms (50 to 90); jitter buffer 45 ms"


def test_what_is_unknown_is_said_to_be_unknown() -> None:
    told = dict(sound.told(facts.LegClosed(packets_received=10, packets_sent=10, concealed_ms=None, peer_reports=0)))
    assert told["we heard"] == "10 packets, 0 lost (0.0 %); not decoded, so nothing is known of gaps; no MOS estimate"
    assert told["the caller was sent"] == "10 packets; the far side never reported what arrived"
    assert told["delay"] == "no round trip was measured"


def test_a_sparkline_rises_with_its_values_and_leaves_out_what_is_unknown() -> None:
    assert sound.sparkline([0, 1, None, 7]) == "▁▂ █"
    assert sound.sparkline([0, 0]) == "▁▁"


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(-10, 1e6)))
def test_a_sparkline_is_as_long_as_its_values(values: list[float | None]) -> None:
    assert len(sound.sparkline(values)) == len(values)


def test_samples_become_a_table_of_the_latest_and_lines_of_all() -> None:
    samples = [Sample(at_ms=5_000 * n, packets_received=250, packets_lost=n % 3) for n in range(1, 101)]
    assert sound.samples_table(samples, 0).row_count == sound.ROWS
    ((what, drawn),) = sound.sparklines(samples)
    assert what == "lost"
    assert "up to 2 in 5 s" in drawn
    assert len(drawn.split("  ")[0]) == 100
