"""The media process: `pageline media`."""

import asyncio
import importlib
import os
import signal

import uvloop

from shared import heap, log
from shared.bus import Bus
from shared.errors import BadSetting
from shared.line import line
from shared.settings import Settings
from shared.wire import Wire
from workers.media.archive import store_of
from workers.media.casting import Casting
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.open_line import OpenLine
from workers.media.retention import keep_swept
from workers.media.tracing import Tracing, open_tracing
from workers.media.turn import Relays
from workers.media.voice import voice
from workers.media.worker import Worker


def serve(settings: Settings) -> None:
    """Run a media worker until a signal ends it.

    Raises:
        BadSetting: a setting is missing.
        HandlerUnusable: a handler cannot be imported.
    """
    url = settings.required_redis_url
    relays = Relays(settings.known_ice_servers, only=settings.ice_transport_policy == "relay")
    voice.use(settings.tts_argv)
    if settings.recordings_store:
        try:
            store_of(settings.recordings_store)
        except ValueError as error:
            raise BadSetting(f"RECORDINGS_URL={error}") from error
    casting = Casting(settings)
    importlib.import_module("shared.streams")  # takes half a second, for which nobody waits yet
    tracing = open_tracing(os.environ)
    heap.settle()
    uvloop.run(_work(settings, url, casting, relays, tracing))
    if tracing is not None:
        tracing.close()


async def _work(settings: Settings, url: str, casting: Casting, relays: Relays, tracing: Tracing | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = Host(loop)
    host.open()

    async with (
        Wire.from_url(url, name="pageline-media") as wire,
        Wire.from_url(url, name="pageline-inbox", only_reads=True) as inbox,
    ):
        bus = Bus(wire, retention_hours=settings.retention_hours, log_hours=settings.kept_log_hours)
        line.bind(OpenLine(host, bus, settings))
        worker = Worker(
            settings,
            bus=bus,
            inbox=Bus(inbox),
            host=host,
            casting=casting,
            make_leg=lambda: Leg(
                addresses=settings.local_addresses,
                ports=settings.media_port_range,
                relays=relays,
                dtx=settings.media_dtx,
            ),
            tracing=tracing,
        )
        log.get().info("worker.started", worker=worker.name, handlers=casting.names)
        days = settings.recordings_retention_days
        sweeping = asyncio.create_task(keep_swept(settings.recordings, days)) if days else None
        await worker.run(stop)
        if sweeping is not None:
            sweeping.cancel()
    host.close()
