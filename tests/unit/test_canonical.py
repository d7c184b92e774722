"""The canonical line of a call says what happened, in one place, and nothing that a log must not hold."""

import json

import pytest
from msgspec.structs import replace

from shared import log
from shared.calls import facts
from shared.calls.canonical import TOLD, canonical
from shared.calls.record import record_of
from shared.calls.trace import trace_id
from tests.unit.test_why import ACCEPTING, ARRIVED, CALLING, CLAIMED, GAVE_UP, GONE, LIVE, OFFER, STARTED, at, closed

PSID = "5275811702471834"
SDP = "v=0 a secret description"


def line(*told: facts.Fact) -> dict[str, object]:
    return canonical("c_1", told, worker="one", pseudonym=log.pseudonym)


CLOSED = at(60_450, facts.Closed(outcome="completed"))
WHOLE = (*LIVE, at(900, facts.RecordingStarted(path="a.wav")), GONE, closed(), CLOSED)


def test_the_line_of_a_conversation() -> None:
    told = line(*WHOLE)
    assert (told["call"], told["page"], told["direction"], told["epoch"]) == ("c_1", "1", "user_initiated", 1)
    assert (told["outcome"], told["because"], told["ended_by"]) == ("completed", "ended_at_meta", "consumer")
    assert (told["ring_ms"], told["answer_ms"], told["talk_ms"]) == (400, 200, 60_000)
    assert (told["handler"], told["worker"], told["recordings"], told["why"]) == ("shop:answer", "one", 1, [])
    assert isinstance(told["mos_estimate"], float)
    assert set(TOLD) <= told.keys()


def test_a_call_that_nobody_answered_has_rung_until_it_ended_and_has_no_figures() -> None:
    told = line(ARRIVED, CLAIMED, STARTED, GAVE_UP)
    assert (told["outcome"], told["ring_ms"], told["answer_ms"], told["talk_ms"]) == ("cancelled", 900, None, None)
    assert told["why"] == ["caller_gave_up"]
    assert "mos_estimate" not in told


def test_a_call_that_we_place_rings_from_when_meta_took_it() -> None:
    picked_up = at(3_060, facts.StatusChanged(status="accepted", page="1", consumer="2"))
    told = line(*CALLING, at(3_000, facts.LegConnected(setup_ms=10)), picked_up, GONE)
    assert (told["meta_id"], told["answer_ms"]) == ("c_1", None)
    assert (told["ring_ms"], told["talk_ms"]) == (3_000, 57_340)


@pytest.mark.parametrize(
    ("ending", "who", "cause"),
    [
        (at(900, facts.HangUpAsked(by="operator")), "operator", None),
        (at(900, facts.HandlerEnded(how="returned")), "handler", None),
        (at(900, facts.LegFailed(reason=facts.PEER_CLOSED)), "consumer", None),
        (at(900, facts.LegFailed(reason="nothing was heard of the peer for 10 s")), "pageline", "network"),
        (at(900, facts.Terminated(status="failed")), "meta", None),
        (at(900, facts.Claimed(worker="two"), epoch=2), "pageline", "worker"),
        (at(900, facts.HangUpAsked(by="api")), "api", None),
        (at(900, facts.HangUpAsked(by="drain")), "pageline", "drain"),
        (at(900, facts.HangUpAsked(by="redis_away")), "pageline", "redis_away"),
    ],
)
def test_the_line_says_who_ended_it(ending: facts.Fact, who: str, cause: str | None) -> None:
    """The record says it in the same words."""
    told, record = line(*LIVE, ending), record_of("c_1", [*LIVE, ending, CLOSED])
    assert (told["ended_by"], told["ended_cause"]) == (who, cause)
    assert record is not None
    assert (record.ended_by, record.ended_cause) == (who, cause)


def test_handlers_that_raised_are_counted_also_where_another_took_over() -> None:
    replaced = at(500, facts.HandlerReplaced(because="raised", error="E"))
    heir = at(501, facts.HandlerStarted(handler="shop:heir"))
    told = line(*LIVE, replaced, heir, at(900, facts.HandlerEnded(how="raised", error="E")))
    assert (told["handlers_raised"], told["handler"]) == (2, "shop:heir")


def test_no_consumer_and_no_description_is_in_it() -> None:
    arrived = replace(ARRIVED, consumer=PSID)
    offered = replace(OFFER, sdp=SDP)
    shown = json.dumps(line(arrived, CLAIMED, STARTED, offered, *ACCEPTING[4:], GAVE_UP))
    assert log.pseudonym(PSID) in shown
    assert PSID not in shown
    assert SDP not in shown


def test_every_process_works_out_the_same_trace() -> None:
    assert trace_id("c_1") == trace_id("c_1") != trace_id("c_2")
    assert 0 < trace_id("c_1") < 2**128
    assert line(*WHOLE)["trace_id"] == f"{trace_id('c_1'):032x}"


def test_what_others_say_of_a_consumer_is_said_of_the_pseudonym() -> None:
    assert log.veiled(f"KeyError: '{PSID}'", PSID) == f"KeyError: '{log.pseudonym(PSID)}'"
    assert log.veiled("KeyError: 'x'", "") == "KeyError: 'x'"
