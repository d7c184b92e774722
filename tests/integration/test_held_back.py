"""Near a limit of Graph's all workers together put off what can wait; whoever rings or talks never waits for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import redis
from rq import Queue, Retry

from shared import jobs
from shared.bus import Bus
from shared.wire import Wire
from tests.integration.graph_server import DONE, Reply, Server, error
from workers.action.desk import Desk
from workers.action.experience import PAUSE_S, held_back, note_usage
from workers.action.graph import Graph
from workers.action.pool import PoolWorker

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
        later = await held_back(of_another_worker, PAGE)
    assert (later is not None) == bool(at_most_s)
    if later is not None:
        assert at_least_s <= later.intervals[0] <= at_most_s + PAUSE_S + 1


async def test_without_redis_nothing_is_held_back(desk: Desk) -> None:
    await desk.breaker.pause(PAGE, for_s=60)
    await desk.bus.wire.close()
    assert await held_back(desk, PAGE) is None


async def test_a_job_that_is_held_back_takes_no_slot_and_runs_when_its_time_has_come(redis_url: str) -> None:
    """Whoever waited in a slot would stand in the way of farewells once there are as many as slots."""
    ran: list[str] = []
    names, all_ran = [f"job-{number}" for number in range(8)], asyncio.Event()

    async def metrics(_context: Any, name: str) -> Retry | str:
        ran.append(name)
        if len(ran) == 2 * len(names):
            all_ran.set()
        return Retry(max=10, interval=1) if ran.count(name) == 1 else "sent"

    client = redis.Redis.from_url(redis_url)
    worker = PoolWorker(
        jobs.QUEUES,
        connection=client,
        url=redis_url,
        functions={"workers.action.jobs.forward": metrics},
        concurrency=5,
        reserve=1,
        maintenance_s=1,
        grace_s=1,
    )
    working = asyncio.create_task(worker.serve(None, handle_signals=False))
    async with Wire.from_url(redis_url) as wire, asyncio.timeout(20):
        for name in names:
            await jobs.enqueue(wire, jobs.BULK, "workers.action.jobs.forward", [name], job_id=name)
        await all_ran.wait()
    assert sorted(ran[: len(names)]) == names, "each was put off before any of them ran again"
    queue = Queue(jobs.BULK, connection=client, serializer=jobs.JsonSerializer)
    async with asyncio.timeout(10):
        while len(queue.finished_job_registry) < len(names):  # noqa: ASYNC110 it is Redis that has to have it
            await asyncio.sleep(0.05)
    assert len(queue.scheduled_job_registry) == 0
    worker.stop()
    await working
    client.close()
