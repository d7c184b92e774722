"""Metrics of ended calls on a real Valkey and a real action worker: owed once one was accepted, until Meta has them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Final

import pytest
import redis
from structlog.testing import capture_logs

from shared import jobs, tally
from shared.bus import Bus
from shared.calls import facts
from shared.outbound import Outbound
from shared.owed import MUTED_FOR_S, Owed
from shared.wire import Wire
from tests.integration.graph_server import DONE, HANGS_UP, TRANSIENT, Reply, Server, error
from workers.action import reports
from workers.action.graph import Graph
from workers.action.jobs import Desk
from workers.action.pool import PoolWorker
from workers.action.reports import report

PAGE: Final = "106378625516323"
CALL: Final = "c_1"
DAY_MS: Final = 86_400_000

NOT_FOUND: Final = Reply(404, b"not found")
UNKNOWN_PATH: Final = error(2500, message="Unknown path components: /call_metrics")
FORBIDDEN: Final = error(200, status=403, message="Requires pages_messaging permission")
ALREADY: Final = error(100, message="Metrics for this call were already submitted")
IN_PROGRESS: Final = error(100, message="Call is still in progress")
EXPIRED: Final = error(190, status=401, error_subcode=463)


class LaterBus(Bus):
    """A bus whose clock can be put forward; it is, by as much as a call's end is left alone."""

    later_ms = 6000

    def now_ms(self) -> int:
        return super().now_ms() + self.later_ms


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[LaterBus]:
    async with Wire.from_url(redis_url) as wire:
        yield LaterBus(wire)


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()
    assert not server.replies, "a reply was laid out that nobody asked for"


@pytest.fixture
async def desk(bus: Bus, graph_server: Server) -> AsyncIterator[Desk]:
    async with Graph(graph_server.url, "v23.0") as graph:
        yield Desk(bus=bus, graph=graph, tokens={PAGE: "t"})


@pytest.fixture
def owed(bus: Bus) -> Owed:
    return Owed(bus.wire)


async def a_call(bus: Bus, call_id: str = CALL, *, page: str = PAGE, accepted: bool = True) -> None:
    """Ring, be answered or not, end, and be closed by its owner."""
    now_ms = await bus.beat("one", lease_ms=60_000, capacity=100, join=True)
    arrived = facts.Arrived(
        page=page, consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(call_id, arrived, identity="connect")
    if accepted:
        await bus.route(call_id, facts.OfferMade(sdp="v=0", epoch=1))
        await bus.fence(call_id, 1, "accept", "job")
        await bus.route(call_id, facts.AnswerReceived(sdp="v=0", epoch=1))
        await bus.route(call_id, facts.LegConnected(setup_ms=80, epoch=1))
    await bus.route(call_id, facts.Terminated(status="completed"), identity="terminate")
    if accepted:
        await bus.route(call_id, facts.LegClosed(packets_received=50, jitter_ms=4.0, epoch=1))
    outcome = "completed" if accepted else "cancelled"
    await bus.done(call_id, "one", 1, outcome, owes_metrics=accepted)


async def in_ms(owed: Owed, bus: Bus, call_id: str = CALL) -> int:
    due_ms = await owed.due_ms(call_id)
    assert due_ms is not None
    return due_ms - bus.now_ms()


@contextlib.asynccontextmanager
async def at_work(redis_url: str, desk: Desk) -> AsyncIterator[None]:
    """An action worker that reports."""
    with redis.Redis.from_url(redis_url) as connection:
        worker = PoolWorker(jobs.QUEUES, connection=connection, url=redis_url)
        serving = asyncio.create_task(worker.serve(desk, handle_signals=False))
        reporting = asyncio.create_task(reports.look_after(desk))
        try:
            yield
        finally:
            reporting.cancel()
            worker.stop()
            await serving


async def until_nothing_is_owed(owed: Owed) -> None:
    async with asyncio.timeout(15):
        while await owed.count():  # noqa: ASYNC110 the event is in Redis
            await asyncio.sleep(0.02)


# --- the duty ---


@pytest.mark.meta("8-edge")
async def test_an_accepted_call_is_reported_after_its_end(
    redis_url: str, desk: Desk, bus: Bus, owed: Owed, graph_server: Server
) -> None:
    graph_server.will(DONE)
    async with at_work(redis_url, desk):
        await a_call(bus)
        await until_nothing_is_owed(owed)

    (request,) = graph_server.requests
    assert request.path == f"/v23.0/{PAGE}/call_metrics"
    body = json.loads(request.body)
    assert (body["call_id"], body["end_call_reason"]) == (CALL, "Hangup_Call")
    assert body["audio_stats"] == {"jitter_sec": 0.004, "packets_lost": 0, "packets_received": 50}


@pytest.mark.meta("8-edge")
async def test_it_waits_on_the_queue_that_can_wait(desk: Desk, bus: Bus) -> None:
    await a_call(bus)
    chore = asyncio.create_task(reports.look_after(desk))
    async with asyncio.timeout(5):
        while not await bus.wire.call("LLEN", "rq:queue:bulk"):  # noqa: ASYNC110 the event is in Redis
            await asyncio.sleep(0.02)
    chore.cancel()
    assert await bus.wire.call("KEYS", "rq:queue:*") == [b"rq:queue:bulk"]


async def test_a_call_that_was_not_accepted_is_not_reported(bus: Bus, owed: Owed) -> None:
    await a_call(bus, accepted=False)
    assert await owed.count() == 0


async def test_a_call_we_placed_is_owed_once_meta_has_named_it(bus: Bus, owed: Owed) -> None:
    await bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    outbound, by_ms = Outbound(bus), bus.now_ms() + 60_000
    ours = [await outbound.place(facts.Placed(page=PAGE, consumer="2", call_by_ms=by_ms)) for _ in range(2)]
    await outbound.adopt(ours[0], facts.ConnectAnswered(meta_id="c_9"))
    for call_id in ours:
        await bus.done(call_id, "one", 1, "unreached")
    assert await owed.due(bus.now_ms(), most=9) == [ours[0]]


@pytest.mark.meta("8-once")
async def test_each_of_many_calls_is_reported_once_by_two_workers(
    redis_url: str, desk: Desk, bus: Bus, owed: Owed, graph_server: Server
) -> None:
    graph_server.will_for_ever(DONE)
    for number in range(25):
        await a_call(bus, f"c_{number}")
    async with at_work(redis_url, desk), at_work(redis_url, desk):
        await until_nothing_is_owed(owed)
    told = [json.loads(request.body)["call_id"] for request in graph_server.requests]
    assert sorted(told) == sorted(f"c_{number}" for number in range(25))


async def test_a_duty_outlives_the_worker_that_dies_with_it(
    redis_url: str, desk: Desk, bus: Bus, owed: Owed, graph_server: Server
) -> None:
    """Its job is lost with everything that RQ knew of it."""
    await a_call(bus)
    chore = asyncio.create_task(reports.look_after(desk))
    async with asyncio.timeout(5):
        while not await bus.wire.call("LLEN", "rq:queue:bulk"):  # noqa: ASYNC110 the event is in Redis
            await asyncio.sleep(0.02)
    chore.cancel()
    await bus.wire.call("DEL", *await bus.wire.call("KEYS", "rq:*"))

    graph_server.will(DONE)
    async with at_work(redis_url, desk):
        await until_nothing_is_owed(owed)


# --- what becomes of it ---


@pytest.mark.parametrize(
    ("reply", "fate"),
    [
        (DONE, "taken"),
        (Reply(200, b'{"success":"true"}'), "taken"),
        (ALREADY, "already_taken"),
        (FORBIDDEN, "given_up"),
        (error(2018389, message="Page Not Allowlisted"), "given_up"),
        (NOT_FOUND, "unknown_edge"),
        (UNKNOWN_PATH, "unknown_edge"),
        (error(100, error_subcode=33, message="Unsupported post request."), "unknown_edge"),
    ],
)
async def test_what_is_settled_is_owed_no_more(
    desk: Desk, bus: Bus, owed: Owed, graph_server: Server, reply: Reply, fate: str
) -> None:
    await a_call(bus)
    graph_server.will(reply)
    assert await report(desk, CALL) == fate
    assert await owed.count() == 0
    assert await report(desk, CALL) == "not due"


@pytest.mark.meta("8-nulls")
async def test_where_every_figure_is_wanted_those_nobody_measured_are_0(
    desk: Desk, bus: Bus, graph_server: Server
) -> None:
    await a_call(bus)
    graph_server.will(error(100, message="audio_stats: round_trip_time_sec is required"), DONE)
    assert await report(desk, CALL) == "taken"
    first, second = (json.loads(request.body)["audio_stats"] for request in graph_server.requests)
    assert second == {**dict.fromkeys(second, 0), **first}
    assert second.keys() > first.keys()


async def test_what_is_refused_with_every_figure_too_is_given_up(desk: Desk, bus: Bus, graph_server: Server) -> None:
    await a_call(bus)
    graph_server.will(error(100), error(100))
    assert await report(desk, CALL) == "given_up"


@pytest.mark.meta("8-errors")
@pytest.mark.parametrize(
    ("reply", "at_least_s", "at_most_s"),
    [
        (TRANSIENT, 50, 70),
        (HANGS_UP, 50, 70),
        (Reply(502, b"<html>"), 50, 70),
        (IN_PROGRESS, 50, 70),
        (error(80006, retry_after_s=600), 590, 610),
        (EXPIRED, 10_700, 10_900),
    ],
    ids=["transient", "no reply", "gateway", "in progress", "throttled", "token expired"],
)
async def test_what_may_succeed_later_is_owed_still(
    desk: Desk, bus: Bus, owed: Owed, graph_server: Server, reply: Reply, at_least_s: int, at_most_s: int
) -> None:
    await a_call(bus)
    graph_server.will(reply)
    assert await report(desk, CALL) == "put_off"
    assert at_least_s * 1000 <= await in_ms(owed, bus) <= at_most_s * 1000
    assert await report(desk, CALL) == "not due"


@pytest.mark.meta("8-day")
async def test_pauses_grow_so_that_a_day_holds_a_dozen_attempts(
    desk: Desk, bus: LaterBus, owed: Owed, graph_server: Server
) -> None:
    await a_call(bus)
    graph_server.will_for_ever(TRANSIENT)
    while await owed.due_ms(CALL) is not None:
        bus.later_ms += max(0, await in_ms(owed, bus))
        fate = await report(desk, CALL)
    assert fate == "too_late"
    assert bus.later_ms > DAY_MS
    assert 8 <= len(graph_server.requests) <= 24


@pytest.mark.meta("8-day")
async def test_a_call_that_ended_a_day_ago_is_not_reported(desk: Desk, bus: LaterBus, graph_server: Server) -> None:
    await a_call(bus)
    bus.later_ms += DAY_MS
    assert await report(desk, CALL) == "too_late"
    assert graph_server.requests == []


async def test_an_unknown_edge_is_left_alone_for_an_hour(desk: Desk, bus: Bus, graph_server: Server) -> None:
    for number in range(3):
        await a_call(bus, f"c_{number}")
    await a_call(bus, "c_other", page="7")
    desk.tokens = {PAGE: "t", "7": "t"}
    graph_server.will(NOT_FOUND, DONE)
    assert [await report(desk, f"c_{number}") for number in range(3)] == ["unknown_edge"] * 3
    assert await report(desk, "c_other") == "taken", "another Page may have it"
    assert len(graph_server.requests) == 2
    (key,) = await bus.wire.call("KEYS", "*mute*")
    assert 0 < await bus.wire.call("TTL", key) <= MUTED_FOR_S


async def test_a_page_whose_limits_are_nearly_used_up_is_left_alone(
    desk: Desk, bus: Bus, owed: Owed, graph_server: Server
) -> None:
    await a_call(bus)
    await desk.breaker.pause(PAGE, for_s=60)
    assert await report(desk, CALL) == "put_off"
    assert graph_server.requests == []
    assert await in_ms(owed, bus) > 0


async def test_a_page_without_a_token_is_reported_once_it_has_one(
    desk: Desk, bus: LaterBus, owed: Owed, graph_server: Server
) -> None:
    await a_call(bus)
    tokens, desk.tokens = desk.tokens, {}
    assert await report(desk, CALL) == "put_off"
    desk.tokens = tokens
    bus.later_ms += await in_ms(owed, bus)
    graph_server.will(DONE)
    assert await report(desk, CALL) == "taken"


async def test_a_report_whose_token_was_renewed_meanwhile_does_not_wait_long(
    desk: Desk, bus: Bus, owed: Owed, graph_server: Server
) -> None:
    await a_call(bus)
    tokens = dict(desk.tokens)
    desk.tokens, desk.look_again = tokens, lambda: tokens.update({PAGE: "another"})
    graph_server.will(EXPIRED)
    assert await report(desk, CALL) == "put_off"
    assert await in_ms(owed, bus) <= 60_000


@pytest.mark.meta("8-errors")
async def test_a_hopeless_report_is_one_line_and_no_dead_letter(desk: Desk, bus: Bus, graph_server: Server) -> None:
    for number in range(6):
        await a_call(bus, f"c_{number}")
        graph_server.will(FORBIDDEN)
        with capture_logs() as lines:
            assert await report(desk, f"c_{number}") == "given_up"
        ((line),) = [line for line in lines if line["log_level"] == "warning"]
        assert line["event"] == "metrics.not_reported"
        assert "pages_messaging" in line["remedy"]
    assert await bus.dead_letter_counts() == {}
    assert await desk.breaker.troubles() == [], "whether calls can be answered is another matter"


async def test_a_log_that_nothing_can_be_made_of_stands_in_nobody_s_way(desk: Desk, bus: Bus, owed: Owed) -> None:
    await a_call(bus)
    (key,) = await bus.wire.call("KEYS", f"*log:{CALL}")
    odd = b'{"fact":"Closed","outcome":"odd"}'
    await bus.wire.call("DEL", key)
    await bus.wire.call("XADD", key, "1-0", "f", odd, "t", bus.now_ms(), "e", 0)
    with capture_logs():
        assert await report(desk, CALL) == "put_off"
    assert await in_ms(owed, bus) > 3_600_000


async def test_how_reports_ended_is_counted(desk: Desk, bus: Bus, graph_server: Server) -> None:
    await a_call(bus)
    graph_server.will(DONE)
    await report(desk, CALL)
    await desk.tally.add_to(bus.wire)
    assert (await tally.read(bus.wire)).actions == {("call_metrics", "taken"): 1}
