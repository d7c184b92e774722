"""Changes of a call's media as the action worker posts them: bodies, versions, conflicts; a real bus, a small Graph."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from shared.bus import Bus
from shared.calls import facts
from tests.integration.graph_server import API, DONE, TRANSIENT, Reply, Server, error
from tests.integration.test_jobs import CALL, PAGE, at_work, bus, found, graph_server, ring
from workers.action.jobs import Desk, act

__all__ = ["bus", "graph_server"]

TRACKS: Final = (("voice", "default_audio", "enabled"), ("eyes", "default_video", "enabled"))
TAKEN: Final = Reply(200, b'{"success":true,"session":{"sdp_response":{"sdp_type":"answer","sdp":"v=0 answer"}}}')
EMPTY: Final = Reply(200, (API / "messenger-media-update-response-conflict.json").read_bytes())


@pytest.fixture
async def desk(bus: Bus, graph_server: Server) -> AsyncIterator[Desk]:
    await ring(bus)
    async with at_work(bus, graph_server) as desk:
        yield desk


async def change(desk: Desk, sdp: str | None = "v=0 ours", *, number: int = 1, heard: int = 9) -> str:
    await desk.bus.route(CALL, facts.MediaOffered(sdp=sdp, tracks=TRACKS, heard=heard, epoch=1))
    return await act(desk, CALL, PAGE, "media_update", 1, desk.bus.now_ms() + 10_000, number)


def bodies(server: Server) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in server.requests]


@pytest.mark.meta("6.2-request", "6.2-version-type", "6.2-label", "6.2-status", "6.2-tracks", "6.2-reply")
async def test_a_change_is_sent_as_documented_and_its_answer_is_a_fact(desk: Desk, graph_server: Server) -> None:
    graph_server.will(TAKEN)
    assert await change(desk) == "settled"
    (body,) = bodies(graph_server)
    sample = json.loads((API / "messenger-media-update-request.json").read_text())
    assert body.keys() == sample.keys()
    assert body == {
        "platform": "messenger",
        "call_id": CALL,
        "action": "media_update",
        "from_version": 0,
        "to_version": 1,
        "tracks": [
            {"msid": "voice", "label": "default_audio", "status": "enabled"},
            {"msid": "eyes", "label": "default_video", "status": "enabled"},
        ],
        "session": {"sdp_type": "offer", "sdp": "v=0 ours"},
    }
    (answered,) = await found(desk.bus, facts.MediaAnswered)
    assert isinstance(answered, facts.MediaAnswered)
    assert (answered.version, answered.sdp, answered.renegotiation, answered.epoch) == (1, "v=0 answer", None, 1)


@pytest.mark.meta("6.2-known-track")
async def test_tracks_that_meta_knows_are_switched_without_a_description(desk: Desk, graph_server: Server) -> None:
    graph_server.will(DONE)
    assert await change(desk, None) == "settled"
    (body,) = bodies(graph_server)
    assert body.keys() == {"platform", "call_id", "action", "tracks"}
    assert len(body["tracks"]) == 2
    assert await found(desk.bus, facts.MediaAnswered)
    graph_server.will(TAKEN)
    assert await change(desk, number=2) == "settled"
    assert bodies(graph_server)[1]["from_version"] == 0, "only an offer makes a new version"


@pytest.mark.meta("6.2-versions", "6.3-counts")
async def test_versions_follow_our_changes_and_metas(desk: Desk, graph_server: Server) -> None:
    for number, heard in enumerate((None, 4, None), start=1):
        if heard is not None:
            await desk.bus.route(CALL, facts.MediaChanged(version=heard, sdp="v=0"), identity=f"media_update:{heard}")
        graph_server.will(TAKEN)
        assert await change(desk, number=number) == "settled"
    assert [(body["from_version"], body["to_version"]) for body in bodies(graph_server)] == [(0, 1), (4, 5), (5, 6)]
    assert len(await found(desk.bus, facts.MediaAnswered)) == 3, "each has an identity of its own"


@pytest.mark.meta("6.3-start")
async def test_where_the_accept_counts_it_is_set_so(desk: Desk, graph_server: Server) -> None:
    desk.media_version_start = 1
    graph_server.will(TAKEN)
    await change(desk)
    assert bodies(graph_server)[0]["from_version"] == 1


@pytest.mark.meta("6.2-invalid-sdp", "6.3-conflict")
@pytest.mark.parametrize(
    "conflict",
    [EMPTY, error(100, message="Conflicting media state"), error(2018392, message="Invalid SDP parameter")],
    ids=["empty", "error", "offer"],
)
async def test_a_conflict_is_told_at_once_and_buries_nothing(desk: Desk, graph_server: Server, conflict: Reply) -> None:
    graph_server.will(conflict)
    assert await change(desk) == "failed"
    (failed,) = await found(desk.bus, facts.ActionFailed)
    assert isinstance(failed, facts.ActionFailed)
    assert (failed.action, failed.cause) == ("media_update", "conflict")
    assert not await desk.bus.dead_letter_counts()
    graph_server.will(TAKEN)
    assert await change(desk, number=2) == "settled"
    assert [body["from_version"] for body in bodies(graph_server)] == [0, 1]


@pytest.mark.meta("6.2-permission", "6.2-bad-msid")
async def test_a_busy_graph_is_asked_again_and_a_refusal_is_final(desk: Desk, graph_server: Server) -> None:
    graph_server.will(TRANSIENT, error(100, message="invalid track msid"))
    assert await change(desk) == "failed"
    (failed,) = await found(desk.bus, facts.ActionFailed)
    assert isinstance(failed, facts.ActionFailed)
    assert (failed.cause, failed.code, failed.attempts) == ("graph", 100, 2)


async def test_a_job_that_comes_again_after_its_report_does_nothing(desk: Desk, graph_server: Server) -> None:
    graph_server.will(TAKEN)
    await change(desk)
    assert await act(desk, CALL, PAGE, "media_update", 1, desk.bus.now_ms() + 5_000, 1) == "stale"
    assert len(graph_server.requests) == 1


async def test_a_change_of_an_epoch_that_is_over_is_not_sent(desk: Desk, graph_server: Server) -> None:
    await desk.bus.route(CALL, facts.MediaOffered(sdp="v=0 ours", tracks=TRACKS, epoch=1))
    assert await act(desk, CALL, PAGE, "media_update", 7, desk.bus.now_ms() + 5_000, 1) == "stale"
    assert not graph_server.requests


@pytest.mark.meta("3.3-answer")
async def test_our_answer_to_metas_offer_is_posted_as_one(desk: Desk, graph_server: Server) -> None:
    await desk.bus.route(CALL, facts.MediaAnswerMade(version=3, sdp="v=0 our answer", epoch=1))
    graph_server.will(DONE)
    assert await act(desk, CALL, PAGE, "media_answer", 1, desk.bus.now_ms() + 5_000, 2) == "settled"
    assert bodies(graph_server) == [
        {
            "platform": "messenger",
            "call_id": CALL,
            "action": "media_update",
            "session": {"sdp_type": "answer", "sdp": "v=0 our answer"},
        }
    ]


async def test_a_change_that_was_made_without_knowing_of_metas_is_not_told_to_know_of_it(
    desk: Desk, graph_server: Server
) -> None:
    await desk.bus.route(CALL, facts.MediaChanged(version=1, sdp="v=0"), identity="media_update:1")
    graph_server.will(EMPTY, TAKEN)
    assert await change(desk, heard=-1) == "failed"
    assert await change(desk, heard=1, number=2) == "settled"
    assert [body["from_version"] for body in bodies(graph_server)] == [0, 1]
