"""What Meta is told of an ended call: exact figures in its units, reasons from what ended it, and nothing invented."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from shared.calls import facts
from shared.meta.metrics import REASONS, Ending, ending_of, report_of

API: Final = Path(__file__).parents[1] / "fixtures" / "api"
CALL: Final = "c_M5YPhGE5jm0L_PMQdScLlYJlR7tU_f0rgXiTQ"
PAGE: Final = "106378625516323"
BEGAN_MS: Final = 1_671_644_820_000

ARRIVED: Final = facts.Arrived(
    page=PAGE,
    consumer="2",
    direction="user_initiated",
    sent_at_ms=BEGAN_MS,
    answer_by_ms=BEGAN_MS + 55_000,
    at_ms=BEGAN_MS,
)
CLAIMED: Final = facts.Claimed(worker="one", epoch=1, at_ms=BEGAN_MS)
OFFER: Final = facts.OfferMade(sdp="v=0", epoch=1, at_ms=BEGAN_MS + 100)
GRANTED: Final = facts.ActionGranted(action="accept", epoch=1, at_ms=BEGAN_MS + 110)
ANSWER: Final = facts.AnswerReceived(sdp="v=0", epoch=1, at_ms=BEGAN_MS + 400)
CONNECTED: Final = facts.LegConnected(setup_ms=80, epoch=1, at_ms=BEGAN_MS + 4_800)
RINGS: Final = (ARRIVED, CLAIMED)
ACCEPTING: Final = (*RINGS, OFFER, GRANTED)
LIVE: Final = (*ACCEPTING, ANSWER, CONNECTED)
HUNG_UP: Final = facts.Terminated(status="completed", duration_s=119, at_ms=BEGAN_MS + 124_900)
DIALLING: Final = (
    facts.Placed(page=PAGE, consumer="2", call_by_ms=BEGAN_MS + 60_000, at_ms=BEGAN_MS),
    CLAIMED,
    facts.PermissionRead(status="has_permission", may_call=True, may_ask=True, epoch=1, at_ms=BEGAN_MS),
    OFFER,
    facts.ActionGranted(action="connect", epoch=1, at_ms=BEGAN_MS + 110),
)
RINGS_THERE: Final = (
    *DIALLING,
    facts.ConnectAnswered(meta_id="c_theirs", sdp="v=0", for_epoch=1, at_ms=BEGAN_MS + 500),
)
PICKED_UP: Final = (*RINGS_THERE, facts.StatusChanged(status="accepted", at_ms=BEGAN_MS + 4_000))
MEASURED: Final = facts.LegClosed(
    packets_received=5950,
    packets_lost=50,
    packets_sent=6000,
    jitter_ms=10.0,
    round_trip_ms=52.0,
    jitter_buffer_ms=40.0,
    concealed_ms=500.0,
    played_ms=119_000.0,
    first_packet_ms=300.0,
    silent_concealed_ms=100.0,
    recovered_ms=500.0,
    paused_ms=18_000.0,
    decoded_packets=5000,
    round_trips=35,
    round_trip_total_ms=1_750.0,
    epoch=1,
    at_ms=BEGAN_MS + 125_000,
)


def closed(outcome: str, at_ms: int = BEGAN_MS + 125_100) -> facts.Closed:
    return facts.Closed(outcome=outcome, epoch=1, at_ms=at_ms)


def told(*log: facts.Fact, call_id: str = CALL, **spelling: Any) -> Any:
    report = report_of(call_id, log, **spelling)
    assert report is not None
    return json.loads(report.body)


FINISHED: Final = (*LIVE, HUNG_UP, MEASURED, closed("completed"))


@pytest.mark.meta(
    "8-platform",
    "8-call-id",
    "8-first-packet",
    "8-unit",
    "8-jitter",
    "8-packets",
    "8-round-trip",
    "8-jitter-buffer",
    "8-concealed",
    "8-played",
    "8-last",
)
def test_a_call_is_told_in_meta_s_units() -> None:
    """10 ms of jitter; 35 round trips that took 1.75 s together; 100 s of sound that waited 40 ms a sample."""
    assert told(*FINISHED) == {
        "platform": "messenger",
        "call_id": CALL,
        "end_call_reason": "Hangup_Call",
        "end_call_subreason": "the consumer hung up",
        "call_ended_time": 1671644944,
        "first_audio_packet_received_time": 1671644825,
        "audio_stats": {
            "jitter_sec": 0.01,
            "packets_lost": 50,
            "packets_received": 5950,
            "round_trip_time_sec": 1.75,
            "jitter_buffer_delay_sec": 0.04 * 100 * 48_000,
            "concealed_samples": 24_000,
            "silent_concealed_samples": 4_800,
            "total_samples_duration_sec": 119.0,
        },
    }


@pytest.mark.meta("8-spelling")
def test_it_has_the_documented_fields() -> None:
    documented = json.loads((API / "messenger-call-metrics-request.json").read_bytes())
    ours = told(*FINISHED)
    assert ours.keys() == documented.keys()
    assert ours["audio_stats"].keys() == documented["audio_stats"].keys()


@pytest.mark.meta("8-spelling", "8-stats-ended")
def test_the_other_spelling_is_that_of_the_table() -> None:
    assert told(*FINISHED, spelling="ms")["audio_stats"] == {
        "call_ended_time": 1671644944,
        "jitter": 0.01,
        "packets_lost": 50,
        "packets_received": 5950,
        "round_trip_time_ms": 1750.0,
        "jitter_buffer_delay_ms": 40.0 * 100 * 48_000,
        "concealed_samples": 24_000,
        "silent_concealed_samples": 4_800,
        "total_samples_duration_ms": 119_000.0,
    }


@pytest.mark.meta("8-first-packet", "8-nulls")
def test_what_was_not_measured_is_absent() -> None:
    """Sound that was passed on undecoded, to a peer that sends no reports."""
    passed_on = facts.LegClosed(packets_received=9, concealed_ms=None, jitter_ms=3.0, epoch=1, at_ms=BEGAN_MS + 9_000)
    body = told(*LIVE, HUNG_UP, passed_on, closed("completed"))
    assert body["audio_stats"] == {"jitter_sec": 0.003, "packets_lost": 0, "packets_received": 9}
    assert "first_audio_packet_received_time" not in body


@pytest.mark.parametrize("log", [(*LIVE, HUNG_UP, MEASURED), (*LIVE, HUNG_UP), (*LIVE, HUNG_UP, facts.LegClosed())])
def test_on_demand_what_was_not_measured_is_0(log: tuple[facts.Fact, ...]) -> None:
    documented = json.loads((API / "messenger-call-metrics-request.json").read_bytes())["audio_stats"]
    measured = told(*log, closed("completed")).get("audio_stats", {})
    stats = told(*log, closed("completed"), zeros=True)["audio_stats"]
    assert stats == {**dict.fromkeys(documented, 0), **measured}


def test_a_call_that_lost_its_process_has_no_figures() -> None:
    taken_over = facts.Claimed(worker="two", epoch=2, at_ms=BEGAN_MS + 20_000)
    ended = facts.ActionSettled(action="terminate", epoch=2, at_ms=BEGAN_MS + 20_500)
    body = told(*LIVE, taken_over, ended, facts.Closed(outcome="lost", epoch=2, at_ms=BEGAN_MS + 20_600))
    assert "audio_stats" not in body
    assert body["end_call_reason"] == "Client_Interrupted"
    assert body["call_ended_time"] == (BEGAN_MS + 20_500) // 1000, "when `terminate` succeeded"


@pytest.mark.meta("8-ended")
def test_a_call_ends_when_meta_or_we_say_so_first() -> None:
    hung_up = facts.HangUpAsked(by="handler", epoch=1, at_ms=BEGAN_MS + 60_000)
    settled = facts.ActionSettled(action="terminate", epoch=1, at_ms=BEGAN_MS + 61_000)
    echo = facts.Terminated(status="completed", at_ms=BEGAN_MS + 65_000)
    body = told(*LIVE, hung_up, settled, echo, MEASURED, closed("completed"))
    assert body["call_ended_time"] == (BEGAN_MS + 61_000) // 1000


@pytest.mark.meta("8-call-id")
def test_a_call_we_placed_is_told_under_meta_s_id() -> None:
    body = told(*RINGS_THERE, HUNG_UP, closed("unreached"), call_id="o_ours")
    assert body["call_id"] == "c_theirs"
    assert body["end_call_reason"] == "No_Answer_Timeout"


def test_a_call_we_placed_and_meta_never_named_is_not_told() -> None:
    assert report_of("o_ours", (*DIALLING, closed("failed"))) is None


@pytest.mark.meta("8-in-progress")
def test_a_call_that_goes_on_is_not_told() -> None:
    assert report_of(CALL, (*LIVE, HUNG_UP, MEASURED)) is None
    assert report_of(CALL, ()) is None


def failed(cause: str = "graph", code: int | None = None, message: str = "no") -> facts.ActionFailed:
    return facts.ActionFailed(action="accept", cause=cause, code=code, message=message, epoch=1, at_ms=BEGAN_MS + 600)


def passed(at_ms: int) -> facts.DeadlinePassed:
    return facts.DeadlinePassed(deadline_ms=at_ms, at_ms=at_ms)


def ended(how: str, error: str = "") -> facts.HandlerEnded:
    return facts.HandlerEnded(how=how, error=error, epoch=1, at_ms=BEGAN_MS + 9_000)


BROKE: Final = facts.LegFailed(reason="ICE found no way", epoch=1, at_ms=BEGAN_MS + 9_000)
GAVE_UP: Final = facts.Terminated(status="completed", at_ms=BEGAN_MS + 900)
BROKE_AT_META: Final = facts.Terminated(status="failed", at_ms=BEGAN_MS + 900)


@pytest.mark.meta("8-reason", "8-subreason")
@pytest.mark.parametrize(
    ("log", "ending"),
    [
        ((*LIVE, HUNG_UP), Ending("Hangup_Call", "the consumer hung up")),
        ((*LIVE, facts.HangUpAsked(by="handler", epoch=1)), Ending("Hangup_Call", "the business hung up")),
        ((*LIVE, facts.HangUpAsked(by="api")), Ending("Hangup_Call", "the business hung up")),
        ((*LIVE, facts.HangUpAsked(by="operator")), Ending("Hangup_Call", "the business hung up")),
        ((*LIVE, ended("returned")), Ending("Hangup_Call", "the conversation was finished")),
        ((*LIVE, ended("raised", "KeyError: 'Ada'")), Ending("Client_Error", "KeyError")),
        ((*LIVE, facts.HangUpAsked(by="drain", epoch=1)), Ending("Client_Interrupted", "drain")),
        ((*LIVE, facts.HangUpAsked(by="redis_away", epoch=1)), Ending("Client_Interrupted", "redis_away")),
        ((*LIVE, replace(BROKE, reason=facts.PEER_CLOSED)), Ending("Hangup_Call", "the consumer hung up")),
        ((*LIVE, BROKE), Ending("Connection_Dropped", "ICE found no way")),
        ((*LIVE, BROKE_AT_META), Ending("Connection_Dropped", "Meta reports that the call failed")),
        (
            (*LIVE, facts.Claimed(worker="two", epoch=2)),
            Ending("Client_Interrupted", "the process that held the call died"),
        ),
        ((*ACCEPTING, ANSWER, BROKE), Ending("WebRTC_Error", "ICE found no way")),
        ((*ACCEPTING, ANSWER, passed(BEGAN_MS + 9_000)), Ending("WebRTC_Error", "media was not connected in time")),
        ((*ACCEPTING, passed(BEGAN_MS + 9_000)), Ending("Signaling_Message_Failed", "Graph did not answer in time")),
        ((*ACCEPTING, failed(code=100)), Ending("Signaling_Message_Failed", "accept: 100 no")),
        ((*ACCEPTING, failed("unreachable", message="")), Ending("Signaling_Message_Failed", "accept: unreachable")),
        ((*ACCEPTING, failed(code=2018396)), Ending("Call_End_Accept_After_Hang_Up", "accept: 2018396 no")),
        ((*ACCEPTING, GAVE_UP), Ending("Hangup_Call", "the consumer hung up before media was connected")),
        (
            (*ACCEPTING, BROKE_AT_META),
            Ending("Connection_Dropped", "Meta reports that the call failed before media was connected"),
        ),
        (
            (*ACCEPTING, facts.HangUpAsked(by="handler", epoch=1)),
            Ending("Hangup_Call", "the business hung up before media was connected"),
        ),
        ((*ACCEPTING, facts.HangUpAsked(by="drain", epoch=1)), Ending("Client_Interrupted", "drain")),
        ((*RINGS, passed(BEGAN_MS + 55_000)), Ending("Incoming_Timeout", "the business did not answer in time")),
        ((*RINGS, facts.RejectAsked(reason="Ada owes us", epoch=1)), Ending("Ignore_Call", "the business declined")),
        ((*RINGS, ended("raised", "KeyError: 'Ada'")), Ending("Client_Error", "KeyError")),
        (RINGS, Ending("Unknown", "")),
        ((*RINGS_THERE, GAVE_UP), Ending("No_Answer_Timeout", "the consumer did not pick up")),
        ((*RINGS_THERE, passed(BEGAN_MS + 60_000)), Ending("No_Answer_Timeout", "the consumer did not pick up")),
        ((*PICKED_UP, passed(BEGAN_MS + 20_000)), Ending("WebRTC_Error", "media was not connected in time")),
        ((*PICKED_UP, BROKE), Ending("WebRTC_Error", "ICE found no way")),
        ((*PICKED_UP, CONNECTED, HUNG_UP), Ending("Hangup_Call", "the consumer hung up")),
        ((*DIALLING, passed(BEGAN_MS + 20_000)), Ending("Signaling_Message_Failed", "Graph did not answer in time")),
        (
            (*RINGS_THERE, facts.HangUpAsked(by="operator")),
            Ending("Hangup_Call", "the business hung up before media was connected"),
        ),
        (
            (*RINGS_THERE, facts.HangUpAsked(by="handler", epoch=1)),
            Ending("Hangup_Call", "the business hung up before media was connected"),
        ),
    ],
)
def test_every_ending_has_the_reason_of_what_ended_it(log: tuple[facts.Fact, ...], ending: Ending) -> None:
    assert ending_of(log) == ending
    assert ending.reason in REASONS


def test_the_first_end_counts_and_not_its_echo() -> None:
    hung_up = facts.HangUpAsked(by="handler", epoch=1, at_ms=BEGAN_MS + 60_000)
    assert ending_of((*LIVE, hung_up, GAVE_UP, ended("cancelled"))) == Ending("Hangup_Call", "the business hung up")


@pytest.mark.meta("8-subreason")
def test_a_long_cause_is_cut() -> None:
    broke = facts.LegFailed(reason="x" * 1000, epoch=1, at_ms=BEGAN_MS + 9_000)
    assert told(*LIVE, broke, MEASURED, closed("completed"))["end_call_subreason"] == "x" * 200
