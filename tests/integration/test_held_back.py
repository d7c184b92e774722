"""Near a limit of Graph's all workers together leave undone what can wait; whoever rings or talks waits for nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

import pytest

from shared.bus import Bus
from shared.calls import facts
from shared.outbound import Outbound
from shared.wire import Wire
from tests.integration.graph_server import ANSWERS, API, DONE, Reply, Server, error
from workers.action.desk import Desk
from workers.action.experience import PAUSE_S, note_usage, paused
from workers.action.graph import Graph
from workers.action.jobs import act

PAGE: Final = "106378625516323"


def using(percent: float, reply: Reply, *, regain_min: int = 0) -> Reply:
    cases = {PAGE: [{"type": "messenger", "call_count": percent, "estimated_time_to_regain_access": regain_min}]}
    return reply._replace(headers=(f"X-Business-Use-Case-Usage: {json.dumps(cases)}", *reply.headers))


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()


@pytest.fixture
async def desk(redis_url: str, graph_server: Server) -> AsyncIterator[Desk]:
    async with Wire.from_url(redis_url) as wire, Graph(graph_server.url, "v23.0") as graph:
        yield Desk(bus=Bus(wire), graph=graph, tokens={PAGE: "token"})


async def hear(desk: Desk, server: Server, reply: Reply) -> None:
    server.will(reply)
    await note_usage(desk, PAGE, await desk.graph.request("GET", PAGE, "", "token"))


@pytest.mark.parametrize(
    ("reply", "at_least_s", "at_most_s"),
    [
        (using(95, DONE), PAUSE_S - 5, PAUSE_S),
        (using(100, DONE, regain_min=7), 7 * 60 - 5, 7 * 60),
        (error(80006), PAUSE_S - 5, PAUSE_S),
        (error(613, retry_after_s=30), 25, 30),
        (using(100, error(80006, status=429), regain_min=20), 20 * 60 - 5, 20 * 60),
        (using(89, DONE), 0, 0),
        (DONE, 0, 0),
        (error(190), 0, 0),
    ],
)
async def test_a_page_is_paused_until_access_returns(
    desk: Desk, graph_server: Server, redis_url: str, reply: Reply, at_least_s: float, at_most_s: float
) -> None:
    await hear(desk, graph_server, reply)
    async with Wire.from_url(redis_url) as other:
        of_another_worker = Desk(bus=Bus(other), graph=desk.graph, tokens={})
        assert at_least_s <= await of_another_worker.breaker.paused_s(PAGE) <= at_most_s
        assert await of_another_worker.breaker.paused_s("another") == 0


async def test_without_redis_nothing_is_held_back(desk: Desk) -> None:
    await desk.breaker.pause(PAGE, for_s=60)
    await desk.bus.wire.close()
    assert await paused(desk, PAGE) == 0


async def begin_to_call(desk: Desk) -> str:
    outbound = Outbound(desk.bus)
    await desk.bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    call_id = await outbound.place(facts.Placed(page=PAGE, consumer="2", call_by_ms=desk.bus.now_ms() + 60_000))
    assert call_id is not None
    return call_id


async def test_near_a_limit_no_call_is_placed_and_its_log_says_why(desk: Desk, graph_server: Server) -> None:
    call_id = await begin_to_call(desk)
    await desk.breaker.pause(PAGE, for_s=240)
    assert await act(desk, call_id, PAGE, "check_permission", 1, desk.bus.now_ms() + 15_000) == "failed"
    assert graph_server.requests == []
    failed = (await desk.bus.read_log(call_id))[-1].fact
    assert isinstance(failed, facts.ActionFailed)
    assert (failed.cause, failed.ambiguous) == ("limited", False)
    assert "4 min" in failed.message
    assert await desk.breaker.troubles() == []
    assert [letter async for letter in desk.bus.dead_letters.all()] == []


async def test_otherwise_the_same_is_asked(desk: Desk, graph_server: Server) -> None:
    call_id = await begin_to_call(desk)
    graph_server.will(Reply(200, (API / "messenger-call-permissions-none.json").read_bytes()))
    assert await act(desk, call_id, PAGE, "check_permission", 1, desk.bus.now_ms() + 15_000) == "settled"


@pytest.mark.parametrize(("action", "reply"), [("accept", ANSWERS), ("reject", DONE), ("terminate", DONE)])
async def test_what_a_caller_waits_for_waits_for_no_limit(
    desk: Desk, graph_server: Server, action: str, reply: Reply
) -> None:
    now_ms = await desk.bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    arrived = facts.Arrived(
        page=PAGE, consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await desk.bus.route("c_1", arrived, identity="connect")
    await desk.bus.route("c_1", facts.OfferMade(sdp="v=0", epoch=1))
    await desk.breaker.pause(PAGE, for_s=3600)
    graph_server.will(reply)
    async with asyncio.timeout(2):
        assert await act(desk, "c_1", PAGE, action, 1, now_ms + 6_000) == "settled"
