"""Every kind of request that we make, as our own code writes it, to the simulated Meta at its strictest, over HTTP.

Its default mode refuses whatever is missing, wrong or unknown in a body, so that a request taken here has the
documented shape. What it got is on its record, and at the end nothing may be missing there that we can say;
`media_update`, which goes on from a call that is live, is in test_strict_media_update.py.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import httpx
import pytest

from shared.calls import facts
from shared.entries import LogEntry
from shared.meta.call_settings import CallSettings, Day, Hours, difference
from shared.meta.messages import Message, body_of, call_prompt, composed, optin
from shared.meta.metrics import Spelling, report_of
from tests.integration.business import PAGE, PSID, SECRET, Business, Webhooks, meta, ring, wait
from workers.action.graph import Graph
from workers.action.page_at_meta import PageAtMeta
from workers.action.request import request_for
from workers.action.verdict import Attempt

TOKEN: Final = "EAAtoken"
OURS: Final = "o_01JABCDEFGHJKMNPQRSTVWXYZ0"
PLACED: Final = facts.Placed(page=PAGE, consumer=PSID, call_by_ms=2**40)


class Meta(NamedTuple):
    """The simulated Meta: as our Graph client meets it, and its levers."""

    graph: Graph
    levers: httpx.AsyncClient

    async def ask(self, action: str, call_id: str, *log: facts.Fact) -> Attempt:
        """Make the request that a call's log amounts to, as the action worker would."""
        entries = [LogEntry(number, fact) for number, fact in enumerate(log)]
        request = request_for(action, call_id, 1, entries)
        assert request is not None
        return await self.send(request.method, request.edge, request.body, request.params)

    async def send(self, method: str, edge: str, body: bytes | None = None, params: Any = None) -> Attempt:
        return await self.graph.request(method, PAGE, edge, TOKEN, body=body, params=params)

    @property
    def page(self) -> PageAtMeta:
        return PageAtMeta(self.graph, PAGE, TOKEN)

    async def record(self) -> Sequence[tuple[str, str, str, int]]:
        """Return method, edge, kind and status of every request that was made."""
        told = (await self.levers.get("/sim/graph")).json()
        return [(one["method"], one["edge"], _kind(one), one["status"]) for one in told]


def _kind(request: dict[str, Any]) -> str:
    body = request["body"]
    match request["edge"]:
        case "calls":
            return str(body["action"])
        case "messages":
            payload = body["message"].get("attachment", {}).get("payload", {"template_type": "text"})
            return str(payload["template_type"])
        case "messenger_call_settings":
            return ",".join(body)
        case _:
            return ""


@asynccontextmanager
async def strict(webhooks: Webhooks, **settings: Any) -> AsyncIterator[Meta]:
    async with (
        meta(webhooks, require_proof=True, **settings) as levers,
        Graph(str(levers.base_url), "v26.0", app_secret=SECRET.encode()) as graph,
    ):
        yield Meta(graph, levers)


async def inbound(sim: Meta, webhooks: Webhooks, business: Business, last: str) -> None:
    call_id = await ring(sim.levers, webhooks)
    if last == "terminate":
        offered = facts.OfferMade(sdp=await business.offer(), epoch=1)
        assert (await sim.ask("accept", call_id, offered)).status == 200
    assert (await sim.ask(last, call_id)).status == 200
    await webhooks.expect("terminate")


async def outbound(sim: Meta, webhooks: Webhooks, business: Business) -> None:
    assert (await sim.ask("check_permission", OURS, PLACED)).status == 200
    assert (await sim.ask("optin", OURS, PLACED)).status == 200
    await sim.levers.post("/sim/permissions", json={"granted": True})
    placed = await sim.ask("connect", OURS, PLACED, facts.OfferMade(sdp=await business.offer(), epoch=1))
    assert placed.status == 200
    assert placed.reply
    assert placed.reply.call_id
    answered = facts.ConnectAnswered(meta_id=placed.reply.call_id, for_epoch=1)
    await webhooks.expect("connect", "ringing")
    assert (await sim.ask("terminate", OURS, PLACED, answered)).status == 200
    await webhooks.expect("terminate")


MESSAGES: Final = (
    composed("We will call you back."),
    composed("We are open.", call_button="Call us", days=7),
    composed("We are open.", title="The shop", call_button="Call us"),
    call_prompt(),
    optin(),
)


async def messages(sim: Meta, *written: Message) -> None:
    for message in written:
        assert (await sim.send("POST", "messages", body_of(message, PSID))).status == 200


async def page(sim: Meta) -> None:
    """Raise `Untold` where Meta refuses any of it."""
    assert await sim.page.subscribed()
    await sim.page.subscribe(["messages"])
    assert await sim.page.calling() == "enabled"
    assert (await sim.page.greet()).status == 200
    assert (await PageAtMeta(sim.graph, PAGE, TOKEN, app_id="1").token(SECRET)).valid
    week = (Day(0, "0900", "1700"), Day(6, "1000", "1200"))
    for wanted in (CallSettings(False, False, False, Hours("UTC"), "META"), CallSettings(True, True, True, None, None)):
        for change in difference(wanted, await sim.page.call_settings()):
            await sim.page.change(change)
    wanted = CallSettings(hours=Hours("Africa/Lagos", week), routing="PARTNERS")
    for change in difference(wanted, await sim.page.call_settings()):
        await sim.page.change(change)
    assert difference(wanted, await sim.page.call_settings()) == ()


EVERYTHING: Final = {
    ("POST", "calls", "accept"),
    ("POST", "calls", "connect"),
    ("POST", "calls", "reject"),
    ("POST", "calls", "terminate"),
    ("GET", "messenger_call_permissions", ""),
    ("POST", "messages", "text"),
    ("POST", "messages", "button"),
    ("POST", "messages", "generic"),
    ("POST", "messages", "call_prompt"),
    ("POST", "messages", "calling_optin"),
    ("GET", "messenger_call_settings", ""),
    ("POST", "messenger_call_settings", "audio_enabled"),
    ("POST", "messenger_call_settings", "video_enabled"),
    ("POST", "messenger_call_settings", "icon_enabled"),
    ("POST", "messenger_call_settings", "call_hours"),
    ("POST", "messenger_call_settings", "call_routing"),
    ("GET", "subscribed_apps", ""),
    ("POST", "subscribed_apps", ""),
    ("POST", "business_messaging_feature_status", ""),
    ("GET", "", ""),
    ("GET", "debug_token", ""),
    ("POST", "call_metrics", ""),
}


@pytest.mark.meta(
    "4.2-platform",
    "4.2-action",
    "4.2-call-id",
    "4.2-to",
    "4.2-schema",
    "4.4-reject",
    "4.4-terminate",
    "5.1-check",
    "5.3-request",
    "5.4-connect",
    "7.1-video",
    "7.1-icon",
    "7.2-hours",
    "7.4-prompt",
    "7.5-template",
    "7.5-generic",
    "8-edge",
)
async def test_every_request_that_we_make_is_taken_by_a_strict_meta(webhooks: Webhooks, business: Business) -> None:
    async with strict(webhooks, pickup="ignore") as sim:
        await inbound(sim, webhooks, business, "reject")
        await inbound(sim, webhooks, business, "terminate")
        await page(sim)
        await messages(sim, *MESSAGES)
        caller = Business()
        await outbound(sim, webhooks, caller)
        await caller.peer.close()
        await metrics(sim, webhooks, "sec", measured=False)
        record = await sim.record()
    assert {request[:3] for request in record} == EVERYTHING
    assert {request[3] for request in record} == {200}, record


@pytest.mark.meta("8-spelling", "8-stats-ended")
@pytest.mark.parametrize("spelling", ["sec", "ms"])
async def test_metrics_are_taken_in_the_spelling_that_meta_is_said_to_want(
    webhooks: Webhooks, spelling: Spelling
) -> None:
    async with strict(webhooks, metrics_spelling={"sec": "seconds", "ms": "milliseconds"}[spelling]) as sim:
        await metrics(sim, webhooks, spelling, measured=True)
        assert {request[3] for request in await sim.record() if request[1] == "call_metrics"} == {200}


async def metrics(sim: Meta, webhooks: Webhooks, spelling: Spelling, *, measured: bool) -> None:
    """Report a call that was talked on, or one that ended while it rang."""
    if measured:
        peer = Business()
        call_id = await _talked(sim, webhooks, peer)
        await peer.peer.close()
    else:
        call_id = await ring(sim.levers, webhooks)
    await sim.levers.post(f"/sim/calls/{call_id}/hangup")
    ended_ms = (await wait(sim.levers, call_id))["ended_ms"]
    report = report_of(call_id, _log(ended_ms, measured=measured), spelling)
    assert report is not None
    assert ("audio_stats" in json.loads(report.body)) is measured
    assert (await sim.send("POST", "call_metrics", report.body)).status == 200


async def _talked(sim: Meta, webhooks: Webhooks, peer: Business) -> str:
    call_id = await ring(sim.levers, webhooks)
    granted = await sim.ask("accept", call_id, facts.OfferMade(sdp=await peer.offer(), epoch=1))
    assert granted.body is not None
    await peer.apply(json.loads(granted.body)["session"])
    assert (await wait(sim.levers, call_id, state="connected"))["state"] == "connected"
    return call_id


def _log(ended_ms: int, *, measured: bool) -> tuple[facts.Fact, ...]:
    def at(seconds: float) -> int:
        return int(ended_ms + seconds * 1000)

    arrived = facts.Arrived(
        page=PAGE,
        consumer=PSID,
        direction="user_initiated",
        sent_at_ms=at(-9),
        answer_by_ms=at(46),
        at_ms=at(-9),
    )
    rings = (arrived, facts.Claimed(worker="one", epoch=1, at_ms=at(-9)))
    over = (facts.Terminated(status="completed", at_ms=at(0)), facts.Closed(outcome="completed", epoch=1, at_ms=at(1)))
    if not measured:
        return (*rings, *over)
    figures = facts.LegClosed(
        packets_received=400,
        packets_lost=3,
        packets_sent=400,
        jitter_ms=4.0,
        jitter_buffer_ms=40.0,
        concealed_ms=60.0,
        silent_concealed_ms=0.0,
        played_ms=8_000.0,
        first_packet_ms=120.0,
        round_trips=2,
        round_trip_total_ms=100.0,
        epoch=1,
        at_ms=at(0.5),
    )
    live = (
        facts.OfferMade(sdp="v=0", epoch=1, at_ms=at(-8.9)),
        facts.ActionGranted(action="accept", epoch=1, at_ms=at(-8.8)),
        facts.AnswerReceived(sdp="v=0", epoch=1, at_ms=at(-8.5)),
        facts.LegConnected(setup_ms=200, epoch=1, at_ms=at(-8.3)),
    )
    return (*rings, *live, over[0], figures, over[1])


@pytest.mark.meta("4.2-schema")
async def test_a_strict_meta_refuses_what_is_off_the_schema_by_one_field(webhooks: Webhooks) -> None:
    """Or all of the above would prove nothing."""
    async with strict(webhooks) as sim:
        for edge, body in (
            ("calls", {"platform": "messenger", "action": "reject", "call_id": "c_1"}),
            ("messages", json.loads(body_of(optin(), PSID))),
            ("messenger_call_settings", {"icon_enabled": True}),
            ("business_messaging_feature_status", {"features": [{"feature": "messenger_api_calling"}]}),
            ("call_metrics", {"platform": "messenger", "call_id": "c_1"}),
        ):
            refused = await sim.send("POST", edge, json.dumps(body | {"colour": "red"}).encode())
            assert refused.status == 400
            assert refused.error is not None
            assert "`colour`" in refused.error.message or "missing" in refused.error.message
