"""Runs the simulator: from the command line, or inside a test or another program."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
import uvicorn

from simulator.app import create_app
from simulator.settings import Settings, parse
from simulator.wire import CuttableHttp


async def serve(settings: Settings, on_ready: Callable[[str], None] = lambda _url: None) -> None:
    """Serves until cancelled; `on_ready` gets the address of the page once it can be reached."""
    async with running(settings) as url:
        on_ready(url)
        await asyncio.Event().wait()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """Serves while the block runs; yields the base address, like `http://127.0.0.1:54321`."""
    listener = socket.create_server((settings.host, settings.port), backlog=1024)
    host, port = listener.getsockname()[:2]
    app = create_app(settings)
    config = uvicorn.Config(app, http=CuttableHttp, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # `serve` would take the process's signals
    try:
        yield f"http://{host}:{port}"
    finally:
        await app.state.simulator.close()  # first, or the server would wait for pages that listen for events
        server.should_exit = True
        await serving
        listener.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the simulator until Ctrl-C or SIGTERM; prints one line with its address."""
    settings = parse(argv)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

    def announce(url: str) -> None:
        sys.stdout.write(f"Simulator of Meta: {url}/ (Graph: GRAPH_URL={url})\n")
        sys.stdout.flush()

    async def run() -> None:
        serving = asyncio.create_task(serve(settings, announce))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    try:
        asyncio.run(run())
    except OSError as error:
        sys.stderr.write(f"The simulator cannot listen on {settings.host}:{settings.port}: {error}. Try --port 0.\n")
        return 1
    return 0
