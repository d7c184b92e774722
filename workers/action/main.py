"""The action process: `pageline action`."""

import asyncio
import contextlib
import signal

import uvloop

from shared import heap, jobs, log, redis_client
from shared.bus import Bus
from shared.ended import Ended
from shared.errors import RedisAway
from shared.records.opening import open_sinks
from shared.records.sink import Sink
from shared.settings import Settings
from shared.vitals import Pulse
from shared.wire import Wire
from workers.action import records, reports
from workers.action.desk import Desk
from workers.action.graph import Graph
from workers.action.pages import Pages
from workers.action.pool import PoolWorker
from workers.action.watch import Watch

LAST_JOBS_S = 5.0
DRAINING_KNOWN_AFTER_S = 0.5
LAST_WORDS_S = 5.0
"""What a media worker may take beyond DRAIN_SECONDS."""
DRAIN_LOOKED_AT_EVERY_S = 0.1


def serve(settings: Settings) -> None:
    """Run an action worker until a signal ends it.

    Raises:
        BadSetting: a setting is missing.
    """
    url, pages = settings.required_redis_url, Pages(settings)
    sinks = open_sinks(settings.record_addresses, secret=settings.records_webhook_secret)
    heap.settle()
    uvloop.run(_work(settings, url, pages, sinks))


async def _work(settings: Settings, url: str, pages: Pages, sinks: tuple[Sink, ...]) -> None:
    client = redis_client.connect(url)
    worker = PoolWorker(jobs.QUEUES, connection=client, url=url, grace_s=LAST_JOBS_S)
    async with (
        Wire.from_url(url, name="pageline-action") as wire,
        Graph(settings.graph_url, settings.graph_version, app_secret=settings.proving_secret) as graph,
    ):
        bus = Bus(wire, retention_hours=settings.retention_hours, log_hours=settings.kept_log_hours)
        desk = Desk(
            bus=bus,
            graph=graph,
            tokens=pages,
            forward_url=settings.webhook_forward_url,
            media_version_start=settings.media_version_start,
            metrics_spelling=settings.meta_metrics_spelling,
            look_again=pages.look,
            sinks=sinks,
        )
        log.get().info("pages.loaded", pages=sorted(pages))
        beside: list[asyncio.Task[None]] = [
            asyncio.create_task(bus.look_after(lease_ms=settings.lease_ms)),
            asyncio.create_task(desk.tally.keep_adding_to(wire)),
            asyncio.create_task(pages.keep_looking()),
            asyncio.create_task(Pulse("action", wire, bus.now_ms).keep_telling()),
        ]
        terms = records.Terms(with_psid=settings.records_psid == "on")
        for sink in sinks:
            courier = records.Courier(sink, bus, Ended(wire), terms)
            beside.append(asyncio.create_task(courier.run(), name=f"records for {sink.name}"))
        if settings.call_metrics == "on":
            beside.append(asyncio.create_task(reports.look_after(desk)))
        if settings.pages_watch_seconds:
            watch = Watch(desk, pages.wanted, every_s=settings.pages_watch_seconds, app_id=settings.meta_app_id)
            beside.append(asyncio.create_task(watch.keep()))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(
                number, lambda: worker.stop() if stop.is_set() else stop.set()
            )
        beside.append(asyncio.create_task(_stop_last(stop, worker, bus, settings.drain_seconds + LAST_WORDS_S)))
        try:
            await worker.serve(desk, handle_signals=False)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            await asyncio.gather(*(sink.close() for sink in sinks), return_exceptions=True)
            with contextlib.suppress(RedisAway):
                await desk.tally.add_to(wire)
    client.close()


async def _stop_last(stop: asyncio.Event, worker: PoolWorker, bus: Bus, within_s: float) -> None:
    """Once told to stop, work on while a media worker that drains still holds calls: it has farewells to send.

    A platform tells all processes at once; without this the action worker, idle, would be the first to go.
    """
    await stop.wait()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await asyncio.sleep(DRAINING_KNOWN_AFTER_S)
            while await _somebody_drains(bus):  # noqa: ASYNC110 the event is another process's
                await asyncio.sleep(DRAIN_LOOKED_AT_EVERY_S)
    worker.stop()


async def _somebody_drains(bus: Bus) -> bool:
    try:
        census = await bus.census()
    except RedisAway:
        return False
    return any(each.capacity is None and each.held for each in census.workers)
