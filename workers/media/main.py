"""The media process: `pageline media`."""

import asyncio
import functools
import importlib
import signal
from types import MappingProxyType

import uvloop

from shared import heap, log
from shared.bus import Bus
from shared.calls.state import Call
from shared.errors import HandlerUnusable
from shared.line import line
from shared.settings import Settings
from shared.wire import Wire
from workers.media import handler
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.open_line import OpenLine
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
    scripts = {name: handler.load(name) for name in sorted(settings.handlers)}
    for choice in (*settings.choices, *settings.without_options):
        handler.check(scripts[choice.handler], choice.options)
    importlib.import_module("shared.streams")  # takes half a second, for which nobody waits yet
    heap.settle()
    uvloop.run(_work(settings, url, scripts, relays))


async def _work(settings: Settings, url: str, scripts: dict[str, handler.Script], relays: Relays) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = Host(loop)
    host.open()

    @functools.cache
    def named(name: str) -> handler.Script:
        if name not in scripts and not settings.may_run(name):
            raise HandlerUnusable(f"{name} is in no module that CALL_HANDLER, CALL_HANDLERS or PAGES_FILE names.")
        return scripts.get(name) or handler.load(name)

    def script_of(call: Call) -> handler.Script:
        if call.handler:
            return named(call.handler)
        chosen = settings.choose(
            call.page, caller=call.consumer, direction=call.direction, at_ms=call.arrived_ms
        )  # when it arrived and not now: whoever owns it next chooses the same
        return named(chosen.handler)._replace(options=MappingProxyType(dict(chosen.options)))

    async with Wire.from_url(url, name="pageline-media") as wire, Wire.from_url(url, name="pageline-inbox") as inbox:
        bus = Bus(wire, retention_hours=settings.retention_hours)
        line.bind(OpenLine(host, bus, settings))
        worker = Worker(
            settings,
            bus=bus,
            inbox=Bus(inbox),
            host=host,
            script_of=script_of,
            make_leg=lambda: Leg(
                addresses=settings.local_addresses,
                ports=settings.media_port_range,
                relays=relays,
                dtx=settings.media_dtx,
            ),
        )
        log.get().info("worker.started", worker=worker.name, handlers=sorted(scripts))
        await worker.run(stop)
    host.close()
