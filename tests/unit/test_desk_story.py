"""What `pageline call ID` says of agents, and what an agent's page is told, both read from the log."""

from typing import get_args

import msgspec
import pytest

from ingress.desk_following import Following
from shared.calls import agent_facts, facts
from shared.calls.desk_words import in_words
from shared.entries import LogEntry

SDP = "v=0\r\ns=secret\r\n"
SAID = {
    "Queued": agent_facts.Queued(queue="sales"),
    "AgentAsked": agent_facts.AgentAsked(agent="ada", leg="l_1", queue="sales", at_ms=1),
    "AgentOffered": agent_facts.AgentOffered(leg="l_1", sdp=SDP),
    "AgentAnswered": agent_facts.AgentAnswered(leg="l_1", sdp=SDP),
    "AgentConnected": agent_facts.AgentConnected(leg="l_1", setup_ms=80, at_ms=2),
    "HoldAsked": agent_facts.HoldAsked(leg="l_1", on=True),
    "Held": agent_facts.Held(leg="l_1", at_ms=3),
    "Resumed": agent_facts.Resumed(leg="l_1", at_ms=4),
    "TransferAsked": agent_facts.TransferAsked(leg="l_1", agent="bob"),
    "PartingAsked": agent_facts.PartingAsked(leg="l_1", because="hung_up"),
    "AgentLeft": agent_facts.AgentLeft(leg="l_1", because="transferred", at_ms=5),
    "NoteWritten": agent_facts.NoteWritten(agent="ada", text="wants an offer"),
}


@pytest.mark.parametrize("kind", get_args(agent_facts.DeskFact), ids=lambda kind: kind.__name__)
def test_each_fact_of_the_desk_is_told_in_words_and_none_quotes_a_description(kind: type[facts.Fact]) -> None:
    told = in_words(SAID[kind.__name__])
    assert told
    assert "secret" not in told
    assert in_words(facts.HandedBack(worker="one")) == ""


def read(following: Following, *said: facts.Fact) -> list[dict[str, object]]:
    """Let the log go on by these facts, and return what the page is told, in short."""
    entries = [LogEntry(following.seq + number, fact) for number, fact in enumerate(said, 1)]
    known = ("type", "state", "because", "sdp", "since_ms")
    return [{name: told[name] for name in known if name in told} for told in following.read(entries)]


@pytest.fixture
def following() -> Following:
    return Following("c_1", "l_1", queue="sales", page="1", caller="…4321")


def test_the_page_hears_of_its_own_leg_from_the_offer_to_the_end(following: Following) -> None:
    asked = {"type": "call", "state": "connecting", "since_ms": 1}
    assert read(following, SAID["Queued"], SAID["AgentAsked"]) == [asked]
    assert read(following, SAID["AgentOffered"]) == [{"type": "offer", "sdp": SDP}]
    assert read(following, SAID["AgentAnswered"]) == []
    assert read(following, SAID["AgentConnected"]) == [{"type": "call", "state": "live", "since_ms": 2}]
    assert read(following, SAID["Held"]) == [{"type": "call", "state": "held", "since_ms": 3}]
    assert read(following, SAID["Resumed"]) == [{"type": "call", "state": "live", "since_ms": 4}]
    ended = {"type": "call", "state": "ended", "because": "transferred", "since_ms": 5}
    assert read(following, SAID["AgentLeft"]) == [ended]
    assert following.over


def test_who_comes_back_is_told_how_it_stands_and_no_offer_that_was_answered(following: Following) -> None:
    told = read(following, *(SAID[name] for name in ("AgentAsked", "AgentOffered", "AgentAnswered", "AgentConnected")))
    assert told == [{"type": "call", "state": "live", "since_ms": 2}]


def test_other_legs_are_nobody_s_business_but_a_listener_s(following: Following) -> None:
    others = [msgspec.structs.replace(SAID[name], leg="l_2") for name in ("AgentOffered", "AgentConnected", "Held")]
    assert read(following, SAID["AgentAsked"], SAID["AgentConnected"], *others) == [
        {"type": "call", "state": "live", "since_ms": 2}
    ]
    listener = Following("c_1", "l_1", queue="sales", page="1", caller="…4321", listening=True)
    assert read(listener, SAID["AgentAsked"], SAID["AgentConnected"], *others)[-1]["state"] == "held"


@pytest.mark.parametrize(
    ("fact", "because"),
    [
        (facts.Terminated(status="completed"), "caller_left"),
        (facts.LegFailed(reason=facts.PEER_CLOSED), "caller_left"),
        (facts.HangUpAsked(by="api"), "hung_up"),
        (facts.HandlerEnded(how="raised"), "failed"),
        (facts.Claimed(worker="two"), "connection_lost"),
        (agent_facts.AgentLeft(leg="l_1", because="call_ended"), "caller_left"),
        (agent_facts.AgentLeft(leg="l_1", because="left"), "hung_up"),
    ],
)
def test_the_end_has_a_reason(following: Following, fact: facts.Fact, because: str) -> None:
    read(following, facts.Claimed(worker="one"), SAID["AgentAsked"], SAID["AgentConnected"])
    (ended,) = read(following, fact, facts.Closed(outcome="completed"))
    assert ended["because"] == because
