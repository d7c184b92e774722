"""The web process as a Starlette application."""

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ingress.calls_api import CallsApi
from ingress.console import Console
from ingress.desk import Desk
from ingress.health import Health
from ingress.together import counting_together
from ingress.twilio_api import TwilioApi
from ingress.webhook import Webhook
from shared import heap, log, parent, settings
from shared.bus import Bus
from shared.vitals import Pulse
from shared.wire import Wire

SHUTDOWN_S = 5
KEEP_ALIVE_S = 620
"""Longer than load balancers keep connections that idle (Google's: 600 s), or a webhook could meet the end of one."""
LARGEST_MESSAGE_BYTES = 65_536
"""Of the desk's pages; a session description has a few thousand."""


class App(Starlette):
    """Starlette, with a short cut for the one path whose cost counts."""

    webhook: Webhook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take webhooks straight to their endpoint; everything else goes the ordinary way."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/webhook":
            await self.webhook.post(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(configured: settings.Settings | None = None) -> App:
    """Return the application; refuses to without secrets.

    Raises:
        BadSetting: META_APP_SECRET, META_VERIFY_TOKEN or REDIS_URL is missing.
    """
    if configured is None:  # a worker process of uvicorn's
        parent.die_with_parent()
        configured = settings.load()
        log.setup("web", format_=configured.log_format)
    wire = Wire.from_url(configured.required_redis_url, name="pageline-web")
    bus = Bus(wire, retention_hours=configured.retention_hours, log_hours=configured.kept_log_hours)
    webhook = Webhook(bus, configured)
    health = Health(bus)
    desk = Desk(bus, configured)
    console = Console(bus, configured)
    app = App(
        routes=[
            Route("/webhook", webhook.verify, methods=["GET"]),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Route("/metrics", health.metrics),
            *CallsApi(bus, configured).routes(),
            *TwilioApi(bus, configured).routes(),
            *desk.routes(),
            *console.routes(),
        ],
        lifespan=_lifespan(wire, bus, desk, console, configured.lease_ms),
    )
    app.webhook = webhook
    return app


def serve(configured: settings.Settings) -> None:
    """Run the web process until a signal ends it."""
    app = create_app(configured)  # refuses before anything listens
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it anew once it has shut down
    several = configured.web_concurrency > 1
    with counting_together() if several else contextlib.nullcontext():
        uvicorn.run(
            "ingress.app:create_app" if several else app,
            factory=several,
            workers=configured.web_concurrency if several else None,
            host=configured.http_host,
            port=configured.http_port,
            loop="uvloop",
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=LARGEST_MESSAGE_BYTES,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )


def _lifespan(
    wire: Wire, bus: Bus, desk: Desk, console: Console, lease_ms: int
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await wire.connect()
        heap.settle()
        _once_told_to_end(console.hub.close)
        beside = [
            asyncio.create_task(bus.look_after(lease_ms=lease_ms)),
            asyncio.create_task(Pulse("web", wire, bus.now_ms).keep_telling()),
        ]
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            console.hub.close()
            await desk.hub.close()
            await wire.close()

    return lifespan


def _once_told_to_end(do: Callable[[], None]) -> None:
    """Do it when a signal asks the process to end: uvicorn waits for replies that are under way, and tells nobody."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def told(which: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(do)
            if callable(before):
                before(which, frame)

        signal.signal(number, told)
