"""Jobs for calls that we place against a small real HTTP server and a real bus: sent once, whatever dies meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from shared.actions import job_id_of
from shared.bus import PREFIX, Bus, Fenced
from shared.calls import facts
from shared.outbound import Outbound
from shared.wire import Wire
from tests.integration.graph_server import API, DONE, HANGS_UP, TRANSIENT, Reply, Server, error
from workers.action.graph import Graph
from workers.action.jobs import Desk, act

PAGE: Final = "106378625516323"
CONSUMER: Final = "5275811702471834"
OFFER: Final = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
META: Final = "c_K7bQnVd0Lw3R_ZtAhYu8sXpFe2mJ_c9GoWrE4yBg"
CONNECTED: Final = Reply(200, json.dumps({"success": True, "id": META, "session": {"sdp_response": "v=0"}}).encode())
RINGING: Final = facts.StatusChanged(status="ringing", page=PAGE, consumer=CONSUMER)
WITHIN_S: Final = 15.0


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()
    assert not server.replies, "a reply was laid out that nobody asked for"


@pytest.fixture
async def desk(redis_url: str, graph_server: Server) -> AsyncIterator[Desk]:
    async with Wire.from_url(redis_url) as wire, Graph(graph_server.url, "v23.0") as graph:
        yield Desk(bus=Bus(wire), graph=graph, tokens={PAGE: "page-token"})


@pytest.fixture
async def ours(desk: Desk) -> str:
    """A call that `one` owns under epoch 1, its offer made."""
    await desk.bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    wanted = facts.Placed(
        page=PAGE, consumer=CONSUMER, call_by_ms=desk.bus.now_ms() + 60_000, handler="a:b", ask_permission=True
    )
    call_id = await desk.outbound.place(wanted)
    await desk.bus.route(call_id, facts.OfferMade(sdp=OFFER, epoch=1))
    return call_id


async def run(desk: Desk, call_id: str, action: str, *, epoch: int = 1, life_ms: int = 6_000) -> str:
    async with asyncio.timeout(WITHIN_S):
        return await act(desk, call_id, PAGE, action, epoch, desk.bus.now_ms() + life_ms)


async def said(bus: Bus, call_id: str) -> list[facts.Fact]:
    """What the log holds beyond the offer."""
    return [entry.fact for entry in await bus.read_log(call_id)][3:]


async def granted(bus: Bus, call_id: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if any(isinstance(fact, facts.ActionGranted) for fact in await said(bus, call_id)):
                return
            await asyncio.sleep(0.01)


async def failure(bus: Bus, call_id: str) -> facts.ActionFailed:
    (failed,) = [fact for fact in await said(bus, call_id) if isinstance(fact, facts.ActionFailed)]
    return failed


async def was_granted(desk: Desk, call_id: str, action: str) -> None:
    """Let the job have been past the fence, in a worker that died."""
    assert await desk.bus.fence(call_id, 1, action, job_id_of(action, call_id, 1)) is Fenced.GO


async def queued(desk: Desk) -> list[str]:
    jobs = await desk.bus.wire.call("KEYS", "rq:job:*")
    return [job.decode().removeprefix("rq:job:") for job in jobs]


# -- connect -----------------------------------------------------------------------------------------------------------


async def test_a_connect_is_sent_as_documented_and_its_answer_binds_metas_id(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    graph_server.will(Reply(200, (API / "messenger-connect-response.json").read_bytes()))
    assert await run(desk, ours, "connect") == "settled"
    (request,) = graph_server.requests
    assert json.loads(request.body) == {
        "platform": "messenger",
        "to": CONSUMER,
        "action": "connect",
        "session": {"sdp_type": "offer", "sdp": OFFER},
    }
    granted, answered = await said(desk.bus, ours)
    assert granted == facts.ActionGranted(action="connect", at_ms=granted.at_ms, epoch=1)
    assert isinstance(answered, facts.ConnectAnswered)
    assert (answered.for_epoch, answered.epoch) == (1, 0)
    assert answered.sdp is not None
    await desk.bus.route(answered.meta_id, RINGING)
    assert isinstance((await said(desk.bus, ours))[-1], facts.StatusChanged)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(HANGS_UP, id="no reply"),
        pytest.param(Reply(502, b"<html>bad gateway</html>"), id="a gateway's reply"),
        pytest.param(Reply(503), id="an empty 503"),
        pytest.param(TRANSIENT, id="a transient error"),
        pytest.param(DONE, id="success without an id"),
    ],
)
async def test_a_connect_that_may_have_arrived_is_never_sent_again(
    desk: Desk, graph_server: Server, ours: str, reply: Reply
) -> None:
    graph_server.will(reply)
    assert await run(desk, ours, "connect") == "failed"
    assert len(graph_server.requests) == 1
    failed = await failure(desk.bus, ours)
    assert (failed.action, failed.ambiguous, failed.epoch) == ("connect", True, 0)


async def test_what_graph_refuses_is_told_in_the_log_and_is_no_business_of_operators(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    """A consumer whom we may not call says nothing about the Page, and a hundred of them trip no breaker."""
    graph_server.will(error(100, message="The consumer has not given permission to call."))
    assert await run(desk, ours, "connect") == "failed"
    failed = await failure(desk.bus, ours)
    assert (failed.cause, failed.code, failed.ambiguous) == ("graph", 100, False)
    assert await desk.bus.dead_letter_counts() == {}
    assert [key for key in await desk.bus.wire.call("KEYS", f"{PREFIX}*") if b"breaker" in key] == []


async def test_a_connect_that_certainly_never_left_is_sent_once_graph_can_be_reached(redis_url: str) -> None:
    server = Server()
    server.will(CONNECTED)
    async with Wire.from_url(redis_url) as wire, Graph(server.url, "v23.0") as graph:
        desk = Desk(bus=Bus(wire), graph=graph, tokens={PAGE: "page-token"})
        await desk.bus.beat("one", lease_ms=60_000, capacity=5, join=True)
        call_id = await desk.outbound.place(
            facts.Placed(page=PAGE, consumer=CONSUMER, call_by_ms=desk.bus.now_ms() + 60_000)
        )
        await desk.bus.route(call_id, facts.OfferMade(sdp=OFFER, epoch=1))
        connecting = asyncio.create_task(run(desk, call_id, "connect"))
        await granted(desk.bus, call_id)
        await server.listen()
        assert await connecting == "settled"
    await server.close()
    assert len(server.requests) == 1


# -- a connect whose worker, or whose call's owner, died ---------------------------------------------------------------


@pytest.mark.parametrize("life_ms", [6_000, -1], ids=["in time", "too late"])
async def test_a_connect_that_is_delivered_again_sends_nothing_and_says_so(
    desk: Desk, graph_server: Server, ours: str, life_ms: int
) -> None:
    await was_granted(desk, ours, "connect")
    assert await run(desk, ours, "connect", life_ms=life_ms) == "failed"
    assert graph_server.requests == []
    failed = await failure(desk.bus, ours)
    assert (failed.ambiguous, failed.epoch) == (True, 0)


async def test_a_connect_that_is_delivered_again_after_the_call_has_another_owner_tells_him(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    """He owes Meta a goodbye, and waits to know under which name."""
    await was_granted(desk, ours, "connect")
    await desk.bus.beat("two", lease_ms=60_000, capacity=5, join=True)
    await desk.bus.beat("one", lease_ms=0)
    await desk.bus.beat(lease_ms=60_000)
    assert await run(desk, ours, "connect") == "failed"
    assert graph_server.requests == []
    failed = await failure(desk.bus, ours)
    assert (failed.ambiguous, failed.epoch) == (True, 0)


async def test_a_connect_that_never_left_is_not_sent_for_an_owner_who_is_gone(desk: Desk, ours: str) -> None:
    server = Server()  # bound, but nobody listens
    async with Graph(server.url, "v23.0") as graph:
        elsewhere = Desk(bus=desk.bus, graph=graph, tokens=desk.tokens)
        connecting = asyncio.create_task(run(elsewhere, ours, "connect"))
        await granted(desk.bus, ours)
        assert await desk.bus.handoff(ours, "one", 1, anyway=True)
        await server.listen()
        assert await connecting == "failed"
    await server.close()
    assert server.requests == []
    failed = await failure(desk.bus, ours)
    assert (failed.ambiguous, failed.epoch) == (False, 0)


async def test_a_connect_that_is_delivered_again_after_its_answer_changes_nothing(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    graph_server.will(CONNECTED)
    await run(desk, ours, "connect")
    before = await desk.bus.read_log(ours)
    assert await run(desk, ours, "connect") == "stale"
    assert await run(desk, ours, "connect", life_ms=-1) == "stale"
    assert await desk.bus.read_log(ours) == before
    assert len(graph_server.requests) == 1


async def test_a_connect_that_is_delivered_again_after_its_refusal_says_nothing(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    graph_server.will(error(100))
    await run(desk, ours, "connect")
    assert await run(desk, ours, "connect") == "stale"


async def test_too_late_means_never_sent_where_it_was_not_granted(desk: Desk, ours: str) -> None:
    assert await run(desk, ours, "connect", life_ms=-1) == "failed"
    failed = await failure(desk.bus, ours)
    assert (failed.cause, failed.ambiguous, failed.epoch) == ("too_late", False, 1)
    assert await desk.bus.fence(ours, 1, "withdraw", "w") is Fenced.GO


# -- an answer for which it is too late --------------------------------------------------------------------------------


async def test_an_answer_for_a_call_that_is_closed_is_ended_by_a_job_of_its_own(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    async def close() -> None:
        await desk.bus.done(ours, "one", 1, "failed")

    graph_server.will(CONNECTED._replace(first=close), DONE)
    await run(desk, ours, "connect")
    assert job_id_of("terminate", META, 0) in await queued(desk)
    assert await run(desk, META, "terminate", epoch=0) == "settled"
    assert json.loads(graph_server.requests[-1].body) == {
        "platform": "messenger",
        "call_id": META,
        "action": "terminate",
    }


async def test_an_answer_whose_id_is_another_calls_is_ended_and_its_own_call_waits_for_nothing(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    async def taken() -> None:
        another = await desk.outbound.place(
            facts.Placed(page=PAGE, consumer=CONSUMER, call_by_ms=desk.bus.now_ms() + 60_000)
        )
        await Outbound(desk.bus).adopt(another, facts.ConnectAnswered(meta_id=META))

    graph_server.will(CONNECTED._replace(first=taken))
    await run(desk, ours, "connect")
    assert job_id_of("terminate", META, 0) in await queued(desk)
    assert not (await failure(desk.bus, ours)).ambiguous


async def test_a_goodbye_names_the_call_as_meta_does(desk: Desk, graph_server: Server, ours: str) -> None:
    graph_server.will(CONNECTED, DONE)
    await run(desk, ours, "connect")
    assert await run(desk, ours, "terminate") == "settled"
    assert json.loads(graph_server.requests[1].body)["call_id"] == META


# -- leave to call -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "status", "may_call", "may_ask"),
    [
        ("flat-can-perform", "has_permission", True, False),
        ("flat-can-perform-action", "has_permission", True, False),
        ("data-wrapper", "has_permission", True, False),
        ("none", "no_permission", False, True),
    ],
)
async def test_leave_is_read_in_every_documented_shape(
    desk: Desk, graph_server: Server, ours: str, sample: str, status: str, may_call: bool, may_ask: bool
) -> None:
    graph_server.will(Reply(200, (API / f"messenger-call-permissions-{sample}.json").read_bytes()))
    assert await run(desk, ours, "check_permission") == "settled"
    assert graph_server.requests[0].path == f"/v23.0/{PAGE}/messenger_call_permissions?psid={CONSUMER}"
    (read,) = await said(desk.bus, ours)
    assert isinstance(read, facts.PermissionRead)
    assert (read.status, read.may_call, read.may_ask, read.epoch) == (status, may_call, may_ask, 1)


async def test_a_graph_without_that_edge_leaves_it_to_the_connect(desk: Desk, graph_server: Server, ours: str) -> None:
    unknown: dict[str, Any] = {"message": "Unknown path components: /messenger_call_permissions"}
    graph_server.will(error(2500, status=404, **unknown))
    assert await run(desk, ours, "check_permission") == "settled"
    (read,) = await said(desk.bus, ours)
    assert isinstance(read, facts.PermissionRead)
    assert read.may_call


@pytest.mark.parametrize("reply", [HANGS_UP, Reply(502), TRANSIENT], ids=["no reply", "a gateway", "transient"])
async def test_a_request_for_leave_that_may_have_arrived_is_not_repeated(
    desk: Desk, graph_server: Server, ours: str, reply: Reply
) -> None:
    graph_server.will(reply)
    assert await run(desk, ours, "optin") == "failed"
    assert len(graph_server.requests) == 1
    assert (await failure(desk.bus, ours)).ambiguous
    assert await desk.bus.dead_letter_counts() == {}


async def test_a_consumer_is_asked_with_the_template_of_the_reference(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    graph_server.will(Reply(200, b'{"recipient_id":"5275811702471834","message_id":"m_1"}'))
    assert await run(desk, ours, "optin") == "settled"
    (request,) = graph_server.requests
    assert request.path == f"/v23.0/{PAGE}/messages"
    assert json.loads(request.body) == json.loads((API / "messenger-calling-optin-request.json").read_text())
    (settled,) = await said(desk.bus, ours)
    assert isinstance(settled, facts.ActionSettled)


async def test_a_consumer_who_was_asked_too_often_holds_up_no_other_call(
    desk: Desk, graph_server: Server, ours: str
) -> None:
    graph_server.will(error(613, error_subcode=1893016))
    assert await run(desk, ours, "optin") == "failed"
    assert await desk.breaker.paused_s(PAGE) == 0


@pytest.mark.parametrize("life_ms", [6_000, -1], ids=["in time", "too late"])
async def test_a_request_for_leave_that_is_delivered_again_sends_nothing(
    desk: Desk, graph_server: Server, ours: str, life_ms: int
) -> None:
    await was_granted(desk, ours, "optin")
    assert await run(desk, ours, "optin", life_ms=life_ms) == "failed"
    assert graph_server.requests == []
    assert (await failure(desk.bus, ours)).ambiguous
