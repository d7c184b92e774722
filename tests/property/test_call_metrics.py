"""Whatever happened to a call, what Meta is told of it keeps to the documented schema: no null, no field of our own."""

import json
import math
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.calls import facts
from shared.calls.state import Outcome
from shared.meta.metrics import LONGEST_SUBREASON, REASONS, Spelling, report_of

NOON_MS: Final = 1_700_000_000_000
TOP: Final[dict[str, type]] = {
    "platform": str,
    "call_id": str,
    "end_call_reason": str,
    "end_call_subreason": str,
    "call_ended_time": int,
    "first_audio_packet_received_time": int,
    "audio_stats": dict,
}
COUNTS: Final = ("packets_lost", "packets_received", "concealed_samples", "silent_concealed_samples")
TIMES: Final[dict[Spelling, tuple[str, ...]]] = {
    "sec": ("jitter_sec", "round_trip_time_sec", "jitter_buffer_delay_sec", "total_samples_duration_sec"),
    "ms": ("jitter", "round_trip_time_ms", "jitter_buffer_delay_ms", "total_samples_duration_ms"),
}
NAMED_BY_THE_TABLE_ALONE: Final[dict[Spelling, tuple[str, ...]]] = {"sec": (), "ms": ("call_ended_time",)}

_ms = st.floats(0, 1e7)
_maybe_ms = st.none() | _ms
_count = st.integers(0, 10**6)
_figures = st.builds(
    facts.LegClosed,
    packets_received=_count,
    packets_lost=_count,
    jitter_ms=_maybe_ms,
    round_trip_ms=_maybe_ms,
    jitter_buffer_ms=_maybe_ms,
    concealed_ms=_maybe_ms,
    played_ms=_ms,
    first_packet_ms=_maybe_ms,
    silent_concealed_ms=_maybe_ms,
    recovered_ms=_maybe_ms,
    paused_ms=_maybe_ms,
    round_trips=_count,
    round_trip_total_ms=_ms,
)
_text = st.text(max_size=300)
_happenings = st.one_of(
    _figures,
    st.builds(facts.Arrived, page=st.just("1"), consumer=st.just("2"), direction=st.just("user_initiated"),
              sent_at_ms=st.just(NOON_MS), answer_by_ms=st.just(NOON_MS + 55_000)),
    st.builds(facts.Claimed, worker=st.just("one"), epoch=st.integers(1, 3)),
    st.builds(facts.OfferMade, sdp=st.just("v=0"), epoch=st.integers(0, 2)),
    st.builds(facts.ActionGranted, action=st.just("accept")),
    st.builds(facts.AnswerReceived, sdp=st.just("v=0")),
    st.builds(facts.ConnectAnswered, meta_id=st.just("c_2")),
    st.builds(facts.LegConnected, setup_ms=_count),
    st.builds(facts.LegFailed, reason=_text),
    st.builds(facts.Terminated, status=st.sampled_from(("completed", "failed"))),
    st.builds(facts.DeadlinePassed, deadline_ms=st.just(NOON_MS + 10**9)),
    st.builds(facts.RejectAsked, reason=_text),
    st.builds(facts.HangUpAsked, by=st.sampled_from(("handler", "api", "operator", "drain", "redis_away"))),
    st.builds(facts.HandlerEnded, how=st.sampled_from(("returned", "raised", "cancelled")), error=_text),
    st.builds(facts.ActionSettled, action=st.sampled_from(("accept", "terminate", "reject"))),
    st.builds(facts.ActionFailed, action=st.just("accept"), cause=st.just("graph"), message=_text,
              code=st.none() | st.sampled_from((2, 100, 2018396))),
)  # fmt: skip


@pytest.mark.parametrize("spelling", get_args(Spelling))
@given(happened=st.lists(_happenings, max_size=12), outcome=st.sampled_from(Outcome))
def test_a_report_keeps_to_the_schema(spelling: Spelling, happened: list[facts.Fact], outcome: Outcome) -> None:
    first = facts.Arrived(page="1", consumer="2", direction="user_initiated", sent_at_ms=NOON_MS, answer_by_ms=NOON_MS)
    told = (first, *happened, facts.Closed(outcome=outcome))
    log = [replace(fact, at_ms=NOON_MS + 1000 * at) for at, fact in enumerate(told)]

    report = report_of("c_1", log, spelling)

    assert report is not None
    body = json.loads(report.body, parse_constant=lambda odd: pytest.fail(f"{odd} is no JSON"))
    for name, value in body.items():
        assert isinstance(value, TOP[name]), name
    assert body["end_call_reason"] in REASONS
    assert len(body.get("end_call_subreason", "")) <= LONGEST_SUBREASON
    assert NOON_MS // 1000 <= body["call_ended_time"] <= NOON_MS // 1000 + 100, "seconds, and of the log's own clock"
    stats = body.get("audio_stats", {})
    assert stats.keys() <= {*COUNTS, *TIMES[spelling], *NAMED_BY_THE_TABLE_ALONE[spelling]}
    for name, value in stats.items():
        assert type(value) is int if name in COUNTS else isinstance(value, int | float), name
        assert math.isfinite(value), name
        assert value >= 0, name
