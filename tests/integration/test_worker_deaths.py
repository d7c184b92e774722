"""A farewell outlives its workers: real processes, killed one after the other while Graph does not take it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import redis
from rq.job import Job

from shared import actions, jobs
from shared.bus import Bus
from shared.calls import facts
from shared.calls.ending import FAREWELL_USEFUL_MS
from shared.wire import Wire
from tests.integration.graph_server import DONE, TRANSIENT, Server
from workers.action.pool import PoolWorker

ROOT: Final = Path(__file__).parents[2]
DEATHS: Final = 2
WORKER: Final = """
import asyncio, sys
import redis
from shared import jobs
from shared.bus import Bus
from shared.wire import Wire
from workers.action.desk import Desk
from workers.action.graph import Graph
from workers.action.pool import PoolWorker

async def work(url, graph_url):
    worker = PoolWorker(jobs.QUEUES, connection=redis.Redis.from_url(url), url=url, heartbeat_s=0.3, maintenance_s=1)
    async with Wire.from_url(url) as wire, Graph(graph_url, "v23.0") as graph:
        await worker.serve(Desk(bus=Bus(wire), graph=graph, tokens={"1": "t"}))

asyncio.run(work(*sys.argv[1:]))
"""


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


async def until_heard(server: Server, since: int) -> None:
    async with asyncio.timeout(30):
        while len(server.requests) <= since:  # noqa: ASYNC110 another process's doing
            await asyncio.sleep(0.01)


def test_a_farewell_has_more_retries_than_workers_can_die_in_its_time(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        noticed_after_s = PoolWorker(jobs.QUEUES, connection=connection, url=redis_url).get_heartbeat_ttl(
            Job(connection=connection)
        )
    assert jobs.RETRIES[jobs.CONTROL] * noticed_after_s * 1000 > FAREWELL_USEFUL_MS


async def test_a_farewell_is_said_however_many_workers_die_over_it(
    redis_url: str, bus: Bus, graph_server: Server
) -> None:
    now_ms = await bus.beat("one", lease_ms=120_000, capacity=5, join=True)
    arrived = facts.Arrived(
        page="1", consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route("c_1", arrived)
    await actions.post(bus, call_id="c_1", page="1", action="terminate", epoch=1, deadline_ms=now_ms + 600_000)
    graph_server.will_for_ever(TRANSIENT)
    for death in range(DEATHS + 1):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, redis_url, graph_server.url, cwd=ROOT
        )
        try:
            if death == DEATHS:
                graph_server.will_for_ever(DONE)
            await until_heard(graph_server, len(graph_server.requests))
        finally:
            process.kill() if death < DEATHS else process.terminate()
            await process.wait()
    (said,) = [entry.fact for entry in await bus.read_log("c_1") if isinstance(entry.fact, facts.ActionSettled)]
    assert said.action == "terminate"
    assert await bus.dead_letter_counts() == {}
