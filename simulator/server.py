"""Runs the simulator: from the command line, or inside a test or another program."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TextIO

import httpx
import structlog
import uvicorn

from simulator.app import create_app
from simulator.rehearsal import Rehearsal
from simulator.script import BadScript, Script, read
from simulator.settings import Settings, parse
from simulator.wire import CuttableHttp

STEP_AT_MOST_S = 3700.0
"""No step of a scenario waits longer than an hour."""
KEEP_ALIVE_S = 75
"""Longer than clients keep a connection that idles, or a request could meet the end of it."""


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
    config = uvicorn.Config(
        app,
        http=CuttableHttp,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # `serve` would take the process's signals
    try:
        yield f"http://{host}:{port}"
    finally:
        await app.state.simulator.close()  # first, or the server would wait for pages that listen for events
        server.should_exit = True
        await serving
        listener.close()


async def rehearse(settings: Settings, scripts: Sequence[Script], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Plays scenarios one after another against the business; returns their reports."""
    async with (
        running(settings) as url,
        httpx.AsyncClient(base_url=url, timeout=STEP_AT_MOST_S, trust_env=False) as client,
    ):
        return [await Rehearsal(script, client, say).run() for script in scripts]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the simulator until Ctrl-C or SIGTERM, or plays scenarios and ends; returns the exit status."""
    line = parse(argv)
    settings = line.settings
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        scripts = [read(path) for path in line.scenarios]
    except BadScript as error:
        sys.stderr.write(f"{error}\n")
        return 2
    reports: list[dict[str, Any]] = []

    def say(told: str, out: TextIO = sys.stderr if line.as_json else sys.stdout) -> None:
        out.write(f"{told}\n")
        out.flush()

    async def play() -> None:
        if scripts:
            reports.extend(await rehearse(settings, scripts, say))
        else:
            await serve(settings, lambda url: say(f"Simulator of Meta: {url}/ (Graph: GRAPH_URL={url})"))

    async def run() -> None:
        playing = asyncio.create_task(play())

        def end() -> None:
            if not playing.cancelling():  # a second signal must not cut short how the first hangs up
                playing.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, end)
        with suppress(asyncio.CancelledError):
            await playing

    try:
        asyncio.run(run())
    except OSError as error:
        sys.stderr.write(f"The simulator cannot listen on {settings.host}:{settings.port}: {error}. Try --port 0.\n")
        return 1
    if line.as_json:
        sys.stdout.write(json.dumps(reports, indent=2) + "\n")
    return 0 if len(reports) == len(scripts) and all(report["passed"] for report in reports) else 1
