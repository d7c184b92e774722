"""What `pageline call` says of the sound: figures in words, and the likely reason why somebody heard nothing."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pageline import sound
from shared.calls import facts, sounded
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


def test_closing_figures_are_told_in_words() -> None:
    told = dict(sounded.told(facts.LegClosed(**GOOD, packets_lost=6)))
    assert told["we heard"] == "3000 packets, 6 lost (0.2 %); 0.1 % of the sound concealed; MOS estimate 4.4"
    assert told["the caller was sent"].endswith("3 lost (0.1 %), says the far side; MOS estimate at best 4.3")
    assert told["delay"] == "round trip 60 ms (50 to 90); jitter buffer 45 ms"


def test_what_is_unknown_is_said_to_be_unknown() -> None:
    told = dict(sounded.told(facts.LegClosed(packets_received=10, packets_sent=10, concealed_ms=None, peer_reports=0)))
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
