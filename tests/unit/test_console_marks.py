"""What the console draws of a call: each thing in the lane of whoever did it, a request for as long as it took."""

from typing import get_args

import pytest

from ingress.console_marks import LANES, Mark, marks
from shared.calls import agent_facts, facts


def test_a_request_lasts_from_when_it_was_sent_until_it_was_answered() -> None:
    (accept,) = marks([facts.AnswerReceived(sdp="v=0", graph_ms=236, at_ms=1_263)])
    assert accept == Mark("graph", 1_027, "accept", "236 ms", 1_263)


def test_the_connection_and_the_first_packet_are_told_by_when_they_came() -> None:
    log = [facts.LegConnected(setup_ms=92, at_ms=1_355), facts.LegClosed(first_packet_ms=41.4, at_ms=9_000)]
    connected, first, _closed = marks(log)
    assert (connected.at_ms, connected.until_ms) == (1_263, 1_355)
    assert (first.label, first.at_ms) == ("first packet", 1_396)


def test_what_went_wrong_is_marked_and_what_the_peer_closed_is_not() -> None:
    failed = facts.ActionFailed(action="accept", cause="graph", message="Invalid parameter", code=100)
    log = [failed, facts.LegFailed(reason="ICE failed"), facts.LegFailed(reason=facts.PEER_CLOSED)]
    assert [(mark.label, mark.bad) for mark in marks(log)] == [("accept", True), ("broken", True), ("broken", False)]
    assert marks([failed])[0].detail == "graph · Invalid parameter · code 100"


def test_an_agent_s_talk_is_a_bar_until_the_agent_left_or_the_log_ends() -> None:
    asked = agent_facts.AgentAsked(agent="ada", leg="l_1", at_ms=100)
    connected = agent_facts.AgentConnected(leg="l_1", setup_ms=80, at_ms=180)
    left = agent_facts.AgentLeft(leg="l_1", because="hung_up", at_ms=900)
    (talk,) = marks([asked, connected, left])
    assert talk == Mark("agents", 180, "ada", "hung up", 900)
    (talk, held) = marks([asked, connected, agent_facts.Held(leg="l_1", at_ms=500)])
    assert (talk.until_ms, held.label) == (500, "on hold")


@pytest.mark.parametrize("kind", get_args(facts.FromMeta), ids=lambda kind: kind.__name__)
def test_every_webhook_of_meta_s_has_a_mark(kind: type[facts.Fact]) -> None:
    given = {
        "Arrived": facts.Arrived(page="1", consumer="2", direction="user_initiated", sent_at_ms=1, answer_by_ms=2),
        "StatusChanged": facts.StatusChanged(status="ringing"),
        "MediaChanged": facts.MediaChanged(version=2, sdp="secret"),
        "Terminated": facts.Terminated(status="completed", duration_s=3),
        "PermissionReplied": facts.PermissionReplied(response="approve", replied_at_ms=1),
        "Unrecognized": facts.Unrecognized(event="new", body="secret"),
    }
    (mark,) = marks([given[kind.__name__]])
    assert mark.lane == "meta"
    assert "secret" not in f"{mark.label} {mark.detail}"
    assert mark.lane in LANES
