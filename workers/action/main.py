"""The action process: `pageline action`."""

import asyncio
import contextlib

import redis
import uvloop

from shared import jobs, log
from shared.bus import Bus
from shared.errors import RedisAway
from shared.settings import Settings
from shared.wire import Wire
from workers.action.graph import Graph
from workers.action.jobs import Desk
from workers.action.pool import PoolWorker

SWEEP_EVERY_S = 1.0


def serve(settings: Settings) -> None:
    """Run an action worker until a signal ends it.

    Raises:
        BadSetting: a setting is missing.
    """
    url, tokens = settings.required_redis_url, settings.page_token_by_page
    uvloop.run(_work(settings, url, tokens))


async def _work(settings: Settings, url: str, tokens: dict[str, str]) -> None:
    client = redis.Redis.from_url(url)
    worker = PoolWorker(jobs.QUEUES, connection=client, url=url, grace_s=settings.drain_seconds)
    async with (
        Wire.from_url(url, name="pageline-action") as wire,
        Graph(settings.graph_url, settings.graph_version) as graph,
    ):
        bus = Bus(wire, retention_hours=settings.retention_hours)
        desk = Desk(bus=bus, graph=graph, tokens=tokens, forward_url=settings.webhook_forward_url)
        log.get().info("worker.started", worker=worker.name, pages=sorted(tokens))
        sweeper = asyncio.create_task(_sweep(bus, settings.lease_ms))
        try:
            await worker.serve(desk)
        finally:
            sweeper.cancel()
    client.close()


async def _sweep(bus: Bus, lease_ms: int) -> None:
    """Look after everybody's calls, and keep to the server's clock."""
    while True:
        with contextlib.suppress(RedisAway):
            await bus.beat(lease_ms=lease_ms)
        await asyncio.sleep(SWEEP_EVERY_S)
