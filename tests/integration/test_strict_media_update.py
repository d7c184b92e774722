"""Changes of our media, from our own leg and as our own code writes them, to the simulated Meta at its strictest."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import httpx
import pytest

from shared.calls import facts
from shared.entries import LogEntry
from tests.integration.business import PAGE, Webhooks, meta, ring, wait
from workers.action.graph import Graph
from workers.action.request import change_for, request_for
from workers.action.verdict import Attempt, Verdict, is_conflict, judge
from workers.media.leg import Leg

TOKEN: Final = "EAAtoken"
OTHERWISE: Final = {
    "first_version": 1,
    "conflict": "error",
    "update_renegotiation": True,
    "connect_shape": "string",
    "answer_shape": "objects",
}
"""What Meta's pages say the other way."""


class Talk(NamedTuple):
    """A call that is live, with its log so far."""

    graph: Graph
    levers: httpx.AsyncClient
    leg: Leg
    call_id: str
    log: list[facts.Fact]

    async def change(self, sdp: str | None, *tracks: tuple[str, str, str], start: int = 0) -> Attempt:
        """Post a change and write down what came of it, as the action worker does."""
        heard = max((fact.version for fact in self.log if isinstance(fact, facts.MediaChanged)), default=-1)
        self.log.append(facts.MediaOffered(sdp=sdp, tracks=tracks, heard=heard, epoch=1))
        entries = [LogEntry(number, fact) for number, fact in enumerate(self.log)]
        request = change_for("media_update", self.call_id, 1, entries, start)
        assert request is not None
        attempt = await self.graph.request(request.method, PAGE, request.edge, TOKEN, body=request.body)
        if is_conflict("media_update", attempt, offered=sdp is not None):
            self.log.append(facts.ActionFailed(action="media_update", cause="conflict"))
        elif attempt.error is None and attempt.reply is not None:
            version = request.makes_version
            self.log.append(facts.MediaAnswered(version=version, sdp=attempt.reply.answer))
        return attempt

    async def show(self, label: str, *, start: int = 0) -> Attempt:
        """Offer video, and apply what Meta answers."""
        tracks = (self.leg.audio_track, "default_audio", "enabled"), (self.leg.video_track, label, "enabled")
        attempt = await self.change(self.leg.offer_again(), *tracks, start=start)
        if attempt.reply is not None and attempt.reply.answer is not None:
            await self.leg.take_answer_again(attempt.reply.answer)
            if attempt.reply.renegotiation is not None:
                await self.leg.renegotiate(attempt.reply.renegotiation)
        return attempt

    async def tracks(self) -> dict[str, str]:
        call = (await self.levers.get(f"/sim/calls/{self.call_id}")).json()
        return {track["label"]: track["status"] for track in call["tracks"].values()}


@asynccontextmanager
async def talking(webhooks: Webhooks, **settings: Any) -> AsyncIterator[Talk]:
    async with meta(webhooks, **settings) as levers, Graph(str(levers.base_url), "v26.0") as graph:
        call_id, leg = await ring(levers, webhooks), Leg(addresses=("127.0.0.1",))
        log: list[facts.Fact] = [facts.OfferMade(sdp=await leg.offer(), epoch=1)]
        accept = request_for("accept", call_id, 1, [LogEntry(0, log[0])])
        assert accept is not None
        granted = await graph.request(accept.method, PAGE, accept.edge, TOKEN, body=accept.body)
        assert granted.reply is not None
        assert granted.reply.answer is not None
        await leg.apply(granted.reply.answer, granted.reply.renegotiation)
        await leg.connected()
        await wait(levers, call_id, state="connected")
        yield Talk(graph, levers, leg, call_id, log)
        await leg.close()


@pytest.mark.meta("4.2-action", "6.2-request", "6.2-versions", "6.2-msid", "6.2-label", "6.2-status", "6.2-bundle")
@pytest.mark.parametrize("settings", [{}, OTHERWISE], ids=["one way", "the other way"])
async def test_a_change_of_our_media_is_taken_by_a_strict_meta(webhooks: Webhooks, settings: dict[str, Any]) -> None:
    async with talking(webhooks, **settings) as talk:
        start = int(settings.get("first_version", 0))
        shown = await talk.show("default_video", start=start)
        assert (shown.status, judge("media_update", shown)) == (200, Verdict.SETTLED), shown
        assert talk.leg.video.codec is not None, "Meta takes our video"
        assert await talk.tracks() == {"default_audio": "enabled", "default_video": "enabled"}
        off = [(talk.leg.audio_track, "default_audio", "disabled"), (talk.leg.video_track, "default_video", "disabled")]
        assert (await talk.change(None, *off, start=start)).status == 200
        assert await talk.tracks() == {"default_audio": "disabled", "default_video": "disabled"}
        record = (await talk.levers.get("/sim/graph")).json()
    assert [request["status"] for request in record] == [200, 200, 200]
    body = record[1]["body"]
    assert body.keys() == {"platform", "call_id", "action", "from_version", "to_version", "tracks", "session"}
    assert (body["from_version"], body["to_version"]) == (start, start + 1)
    assert "session" not in record[2]["body"]


@pytest.mark.meta("6.2-label", "6.4-screen")
async def test_a_screen_is_taken_by_a_strict_meta(webhooks: Webhooks) -> None:
    async with talking(webhooks) as talk:
        assert (await talk.show("screen_video")).status == 200
        assert (await talk.tracks())["screen_video"] == "enabled"


@pytest.mark.meta("6.3-start", "6.3-conflict")
@pytest.mark.parametrize("settings", [{"first_version": 1}, {"first_version": 1, "conflict": "error"}], ids=str)
async def test_where_the_accept_counts_the_second_attempt_is_taken(webhooks: Webhooks, settings: Any) -> None:
    async with talking(webhooks, **settings) as talk:
        assert is_conflict("media_update", await talk.show("default_video"), offered=True)
        assert (await talk.show("default_video")).status == 200
        assert (await talk.tracks())["default_video"] == "enabled"


@pytest.mark.meta("4.2-schema", "6.2-bad-msid")
async def test_a_strict_meta_refuses_a_change_that_is_off_the_schema(webhooks: Webhooks) -> None:
    """Or all of the above would prove nothing."""
    async with talking(webhooks) as talk:
        track = {"msid": talk.leg.audio_track, "label": "default_audio", "status": "enabled"}
        body = {"platform": "messenger", "action": "media_update", "call_id": talk.call_id, "tracks": [track]}
        for change in ({"enabled_tracks": ["1"]}, {"tracks": [track | {"label": "DEFAULT_AUDIO"}]}, {"tracks": []}):
            told = json.dumps(body | change).encode()
            assert (await talk.graph.request("POST", PAGE, "calls", TOKEN, body=told)).status == 400
        unknown = await talk.change(None, ("nobody", "default_audio", "disabled"))
        assert unknown.error is not None
        assert "msid" in unknown.error.message
        assert judge("media_update", unknown) is Verdict.HOPELESS
