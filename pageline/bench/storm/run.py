"""One storm from beginning to verdict."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from pageline.bench import figures, stacks
from pageline.bench.show import Show
from pageline.bench.storm import graph, judge, planted
from pageline.bench.storm.callers import Callers
from pageline.bench.storm.fleet import MEMBERS, Fleet, Kind
from pageline.bench.storm.mail import Mail
from pageline.bench.storm.plan import PAGES, draw
from shared.bus import Bus
from shared.embedded import EmbeddedValkey, free_port
from shared.errors import BadSetting
from shared.wire import Wire

LEASE_S: Final = 3.0
REDIS_WITHIN_S: Final = 30.0
"""How long the judge waits for Redis: a busy machine is no finding."""
CAPACITY: Final = 60
ACCEPT_DEADLINE_S: Final = 15.0
QUIET_S: Final = 90.0
"""Without any call finding its end for so long, no more are waited for: an action whose worker was killed is found by
the upkeep of action workers within seconds."""
AFTERMATH_S: Final = 2.0
"""After the last call has ended: for what must not come any more."""


class Order(NamedTuple):
    """What was asked for on the command line."""

    calls: int
    seed: int
    kill_every_s: float
    plant: str = ""


def run(order: Order) -> dict[str, Any]:
    """Let the storm pass, print what it did on stderr, and return the figures; `pass` says whether all is well.

    Raises:
        BadSetting: there is no such plant.
        BenchFailed: a process did not start.
    """
    if order.plant and order.plant not in planted.BUGS:
        raise BadSetting(f"--plant {order.plant} is no bug of ours. Write one of: {', '.join(planted.BUGS)}.")
    show = Show()
    show.storm_begins(order.calls, order.seed, order.kill_every_s, order.plant)
    home = Path(tempfile.mkdtemp(prefix="pageline-storm-"))
    machine, report = figures.machine(), dict[str, Any]()
    try:
        with EmbeddedValkey(home) as valkey:
            report = {"machine": machine, **uvloop.run(_pass(order, home, valkey.url, show))}
    finally:
        if report.get("pass", True) or order.plant:
            shutil.rmtree(home)
        else:
            report["evidence"] = str(home)
    show.storm(report)
    return report


async def _pass(order: Order, home: Path, redis_url: str, show: Show) -> dict[str, Any]:
    began_s = time.monotonic()
    ports = [free_port() for _ in range(MEMBERS[Kind.WEB])]
    mail = Mail([f"http://127.0.0.1:{port}/webhook" for port in ports], order.seed)
    wire = Wire.from_url(redis_url, name="pageline-storm", timeout_s=REDIS_WITHIN_S)
    async with _graph(order.seed) as (meta, graph_port), wire:
        bus = Bus(wire)
        fleet = Fleet(home, _settings(redis_url, home, graph_port), ports, _planted(order.plant))
        try:
            fleet.start()
            await _blow(order, Callers(mail, meta), mail, fleet, show)
            with show.progress("calls with their last word", len(mail.kept)) as advance:
                watching = asyncio.create_task(fleet.watch())
                await judge.settle(bus, mail.kept, quiet_s=QUIET_S, advance=advance)
                await asyncio.sleep(AFTERMATH_S)
                watching.cancel()
            verdict = await judge.judge(bus, mail.kept, meta.accepts)  # while they run: a drain would end what is stuck
            dead_letters = await bus.dead_letter_counts()
        finally:
            fleet.stop()
    return {
        "calls": len(mail.kept),
        "seed": order.seed,
        "kill_every_s": order.kill_every_s,
        "plant": order.plant or None,
        "duplicates_sent": mail.duplicates_sent,
        "kills": sum(strike.how == "killed" for strike in fleet.strikes),
        "freezes": sum(strike.how == "frozen" for strike in fleet.strikes),
        **verdict.figures(),
        "dead_letters": dead_letters,
        "posts": mail.posts,
        "refused_posts": mail.refused_posts,
        "accepts": sum(map(len, meta.accepts.values())),
        "accepts_repeated": sum(len(each) > 1 for each in meta.accepts.values()),
        "graph_requests": meta.requests,
        "ended_by_themselves": fleet.own_ends,
        "strikes": [[strike.at_s, strike.process, strike.how] for strike in fleet.strikes],
        "seconds": round(time.monotonic() - began_s, 1),
        "pass": verdict.spotless,
    }


async def _blow(order: Order, callers: Callers, mail: Mail, fleet: Fleet, show: Show) -> None:
    """Bring all calls, and strike until the last webhook was answered 200."""
    chores = [
        asyncio.create_task(mail.deliver()),
        asyncio.create_task(fleet.watch()),
        asyncio.create_task(fleet.rage(order.kill_every_s, LEASE_S, order.seed)),
    ]
    with show.progress("calls", order.calls) as advance:
        ringing = asyncio.create_task(_ring(order, callers, mail, advance))
        tasks = [ringing, *chores]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _ring(order: Order, callers: Callers, mail: Mail, advance: Callable[[int], None]) -> None:
    async with asyncio.TaskGroup() as calls:
        for plan in draw(order.calls, order.seed):
            calls.create_task(callers.call(plan)).add_done_callback(lambda _: advance(1))
    while not mail.idle:  # noqa: ASYNC110 repeats come late, and nobody rings a bell for the last
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _graph(seed: int) -> AsyncIterator[tuple[graph.Graph, int]]:
    """Serve Graph, with an address for media at which nobody speaks."""
    loop = asyncio.get_running_loop()
    sink, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    meta = graph.Graph(seed, sink.get_extra_info("sockname")[1])
    server = await graph.serve(meta, free_port())
    try:
        yield meta, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        sink.close()


def _settings(redis_url: str, home: Path, graph_port: int) -> dict[str, str]:
    return {
        **stacks.settings_of(redis_url, home, port=0, graph_port=graph_port),
        "PAGE_TOKENS": ",".join(f"{page}=x" for page in PAGES),
        "CALL_HANDLER": "pageline.bench.storm.handler:handle",
        "MEDIA_CAPACITY": str(CAPACITY),
        "LEASE_SECONDS": str(LEASE_S),
        "ACCEPT_DEADLINE_SECONDS": str(ACCEPT_DEADLINE_S),
    }


def _planted(bug: str) -> dict[Kind, str]:
    return {Kind(process): bug for process in planted.BUGS[bug]} if bug else {}
