"""What Graph's refusals and limits make of a Page: shown as degraded, counted, logged; never a reason not to try."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route
from structlog.testing import capture_logs

from ingress.health import Health
from shared.breaker import TRIPS_AT, Breaker
from shared.bus import Bus
from shared.calls import facts
from shared.dead import Letter
from shared.wire import Wire
from tests.integration.graph_server import ANSWERS, DONE, TRANSIENT, Reply, Server, error
from workers.action.graph import Graph
from workers.action.jobs import Desk, act

PAGE: Final = "106378625516323"
TOKEN: Final = "EAAG-a-page-access-token"
EXPIRED: Final = error(190, status=401, error_subcode=463, message="Error validating access token")
OVER: Final = error(100, error_subcode=2018396)
GONE: Final = error(551)


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()


@pytest.fixture
async def desk(bus: Bus, graph_server: Server) -> AsyncIterator[Desk]:
    await bus.beat("one", lease_ms=60_000, capacity=100, join=True)
    async with Graph(graph_server.url, "v23.0") as graph:
        yield Desk(bus=bus, graph=graph, tokens={PAGE: TOKEN})


@pytest.fixture
async def web(bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    health = Health(bus)
    app = Starlette(routes=[Route("/readyz", health.readyz), Route("/metrics", health.metrics)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web") as client:
        yield client


async def degraded(web: httpx.AsyncClient) -> list[str]:
    answered = await web.get("/readyz")
    assert answered.status_code == 200, "what Graph does is no reason to send traffic elsewhere"
    told: list[str] = answered.json()["degraded"]
    assert answered.json()["status"] == ("degraded" if told else "ready")
    return told


async def metric(web: httpx.AsyncClient, name: str, **labels: str) -> float | None:
    text = (await web.get("/metrics")).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


async def ring(bus: Bus, call_id: str, page: str = PAGE) -> None:
    now_ms = bus.now_ms()
    arrived = facts.Arrived(
        page=page, consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(call_id, arrived, identity="connect")
    await bus.route(call_id, facts.OfferMade(sdp="v=0", epoch=1))


async def call(desk: Desk, number: int, action: str = "accept", *, page: str = PAGE, life_ms: int = 6_000) -> str:
    await ring(desk.bus, f"c_{number}", page)
    async with asyncio.timeout(15):
        return await act(desk, f"c_{number}", page, action, 1, desk.bus.now_ms() + life_ms)


async def test_a_run_of_refusals_is_shown_as_degraded_with_cause_and_remedy(
    desk: Desk, graph_server: Server, web: httpx.AsyncClient
) -> None:
    graph_server.will_for_ever(EXPIRED)
    with capture_logs() as lines:
        for number in range(TRIPS_AT - 1):
            await call(desk, number)
        assert await degraded(web) == []
        for number in range(TRIPS_AT, TRIPS_AT + 3):
            await call(desk, number)
    (told,) = await degraded(web)
    for word in (PAGE, "code 190", "463", "has expired", "PAGE_TOKENS"):
        assert word in told
    assert await metric(web, "pageline_breaker_open", page=PAGE) == 1
    assert [line["event"] for line in lines].count("breaker.tripped") == 1


async def test_a_tripped_breaker_gates_nothing_and_one_success_resets_it(
    desk: Desk, graph_server: Server, web: httpx.AsyncClient
) -> None:
    graph_server.will(*[EXPIRED] * TRIPS_AT, ANSWERS)
    with capture_logs() as lines:
        for number in range(TRIPS_AT):
            assert await call(desk, number) == "failed"
        assert await degraded(web) != []
        assert await call(desk, TRIPS_AT) == "settled", "the next call is the probe"
    assert await degraded(web) == []
    assert not await metric(web, "pageline_breaker_open", page=PAGE)
    assert [line["event"] for line in lines].count("breaker.reset") == 1


async def test_a_success_in_between_ends_a_run(desk: Desk, graph_server: Server, web: httpx.AsyncClient) -> None:
    graph_server.will(*[EXPIRED] * (TRIPS_AT - 1), ANSWERS, EXPIRED)
    for number in range(TRIPS_AT + 1):
        await call(desk, number)
    assert await degraded(web) == []


@pytest.mark.parametrize("reply", [OVER, GONE], ids=["the call is over", "the person is away"])
async def test_what_is_one_call_s_fault_does_not_count(
    desk: Desk, graph_server: Server, web: httpx.AsyncClient, reply: Reply
) -> None:
    graph_server.will_for_ever(reply)
    for number in range(TRIPS_AT + 1):
        assert await call(desk, number) == "failed"
    assert await degraded(web) == []


async def test_that_a_call_is_over_already_resets_nothing(
    desk: Desk, graph_server: Server, web: httpx.AsyncClient
) -> None:
    graph_server.will(*[EXPIRED] * TRIPS_AT, OVER)
    for number in range(TRIPS_AT):
        await call(desk, number)
    assert await call(desk, 99, "terminate") == "settled"
    assert await degraded(web) != []


async def test_what_the_fence_refuses_does_not_count(desk: Desk, web: httpx.AsyncClient) -> None:
    for number in range(TRIPS_AT + 1):
        await ring(desk.bus, f"c_{number}")
        await desk.bus.fence(f"c_{number}", 1, "reject", "goodbye")
        assert await call(desk, number) == "failed"
    assert await degraded(web) == []


async def test_an_unreachable_graph_counts_too(bus: Bus, web: httpx.AsyncClient) -> None:
    await bus.beat("one", lease_ms=60_000, capacity=100, join=True)
    async with Graph("http://127.0.0.1:1", "v23.0") as graph:
        desk = Desk(bus=bus, graph=graph, tokens={PAGE: TOKEN})
        await asyncio.gather(*(call(desk, number, life_ms=200) for number in range(TRIPS_AT)))
    (told,) = await degraded(web)
    assert "GRAPH_URL" in told


async def test_pages_have_a_breaker_each(desk: Desk, web: httpx.AsyncClient) -> None:
    for number in range(TRIPS_AT):
        await call(desk, number, page=str(number))  # none of them has a token
    assert await degraded(web) == []
    for number in range(TRIPS_AT, 2 * TRIPS_AT - 1):
        await call(desk, number, page="0")
    (told,) = await degraded(web)
    assert "Page 0" in told


async def test_action_workers_share_it(bus: Bus, redis_url: str) -> None:
    async with Wire.from_url(redis_url) as other:
        workers = (Breaker(bus.wire), Breaker(other))
        with capture_logs() as lines:
            for number in range(TRIPS_AT + 2):
                await workers[number % 2].refused(PAGE, "no")
            await workers[0].succeeded(PAGE)
            await workers[1].succeeded(PAGE)
    assert [line["event"] for line in lines] == ["breaker.tripped", "breaker.reset"]


# -- limits ------------------------------------------------------------------------------------------------------------


def using(percent: float, reply: Reply, *, regain_min: int = 0) -> Reply:
    cases = {PAGE: [{"type": "messenger", "call_count": percent, "estimated_time_to_regain_access": regain_min}]}
    return reply._replace(headers=(*reply.headers, f"X-Business-Use-Case-Usage: {json.dumps(cases)}"))


async def test_a_limit_nearly_used_up_is_shown_while_it_lasts(
    desk: Desk, graph_server: Server, web: httpx.AsyncClient
) -> None:
    graph_server.will(using(89, ANSWERS), using(95, ANSWERS, regain_min=7))
    await call(desk, 1)
    assert await degraded(web) == []
    await call(desk, 2)
    (told,) = await degraded(web)
    for word in (PAGE, "messenger", "95 %", "7 min"):
        assert word in told
    assert await metric(web, "pageline_graph_usage_percent", page=PAGE) == 95
    (key,) = await desk.bus.wire.call("KEYS", "*usage*")
    assert 0 < await desk.bus.wire.call("TTL", key) <= 7 * 60


async def test_a_first_accept_waits_for_no_limit(desk: Desk, graph_server: Server) -> None:
    graph_server.will(using(100, ANSWERS, regain_min=30), ANSWERS)
    async with asyncio.timeout(1.5):
        assert await call(desk, 1) == "settled"
        assert await call(desk, 2) == "settled"


async def test_an_accept_that_is_throttled_beyond_its_deadline_is_given_up_at_once(
    desk: Desk, graph_server: Server
) -> None:
    graph_server.will(using(100, error(80006), regain_min=1))
    async with asyncio.timeout(3):
        assert await call(desk, 1) == "failed"
    assert len(graph_server.requests) == 1


async def test_a_farewell_throttled_for_long_waits_and_is_tried_once_more_before_its_deadline(
    desk: Desk, graph_server: Server
) -> None:
    heard_s: list[float] = []

    async def note() -> None:
        heard_s.append(asyncio.get_running_loop().time())

    graph_server.will(using(100, error(80006), regain_min=30)._replace(first=note), DONE._replace(first=note))
    assert await call(desk, 1, "terminate", life_ms=9_500) == "settled"
    assert heard_s[1] - heard_s[0] >= 3, "without what the header says it would be tried after two seconds"


async def test_a_throttled_reply_without_a_header_is_waited_for_two_seconds(desk: Desk, graph_server: Server) -> None:
    heard_s: list[float] = []

    async def note() -> None:
        heard_s.append(asyncio.get_running_loop().time())

    graph_server.will(error(613)._replace(first=note), ANSWERS._replace(first=note))
    assert await call(desk, 1) == "settled"
    assert heard_s[1] - heard_s[0] >= 2


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_a_token_in_graph_s_words_is_not_passed_on(desk: Desk, graph_server: Server) -> None:
    graph_server.will(error(190, message=f"Malformed access token {TOKEN}"))
    await call(desk, 1)
    told: Any = [entry.fact for entry in await desk.bus.read_log("c_1")]
    letters = [letter async for letter in desk.bus.dead_letters.all()]
    assert "Malformed access token" in letters[0].detail
    assert TOKEN not in repr(told) + repr(letters)


async def test_of_ids_in_graph_s_words_only_the_page_s_own_is_passed_on(desk: Desk, graph_server: Server) -> None:
    graph_server.will(error(100, message=f"No matching user 5275811702471834 for object {PAGE} (code 2018001)"))
    await call(desk, 1)
    (letter,) = [letter async for letter in desk.bus.dead_letters.all()]
    assert f"No matching user ... for object {PAGE} (code 2018001)" in letter.detail


async def test_metrics_tell_actions_latencies_and_dead_letters(
    desk: Desk, graph_server: Server, web: httpx.AsyncClient
) -> None:
    graph_server.will(ANSWERS, TRANSIENT, DONE, EXPIRED)
    await call(desk, 1)
    await call(desk, 2, "terminate")
    await call(desk, 3, "terminate")
    await desk.bus.bury(Letter(why="odd"))
    await desk.tally.add_to(desk.bus.wire)
    assert await metric(web, "pageline_actions_total", action="accept", verdict="settled") == 1
    assert await metric(web, "pageline_actions_total", action="terminate", verdict="settled") == 1
    assert await metric(web, "pageline_actions_total", action="terminate", verdict="hopeless") == 1
    assert await metric(web, "pageline_graph_seconds_count", action="terminate") == 3
    assert await metric(web, "pageline_graph_seconds_bucket", action="terminate", le="+Inf") == 3
    assert await metric(web, "pageline_dead_letters_kept") == 2
    assert await metric(web, "pageline_dead_letters_total", why="action_graph") == 1
