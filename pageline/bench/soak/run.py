"""One soak from beginning to verdict."""

import asyncio
import itertools
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
import uvloop

from pageline.bench import figures, stacks
from pageline.bench.events import SECRET
from pageline.bench.processes import running
from pageline.bench.show import Show
from pageline.bench.soak import keys, vitals
from shared.bus import Bus
from shared.embedded import EmbeddedValkey, free_port
from shared.wire import Wire
from simulator.server import running as simulated
from simulator.settings import Settings as Simulated

CALL_EVERY_S: Final = 1.5
TALK_S: Final = (2.0, 5.0)
ENDED_WITHIN_S: Final = 60.0
LOOKS: Final = 120
REDIS_WITHIN_S: Final = 30.0
"""How long we wait for Redis ourselves: a busy machine is no finding."""
ENTRIES_MORE: Final = 20
"""Calls under way come and go: so many entries more in Redis, outside of history, mean nothing."""
KIB_PER_CALL: Final = 64.0
"""What a call's history may weigh until it expires."""
FAILED_SHARE: Final = 0.01

LINES: Final = {
    "106378625516323": "workers.handlers.echo:answer",
    "106378625516324": "workers.handlers.echo:forward",
    "106378625516325": "workers.handlers.announce:record",
}
"""Pages and who answers there: sound decoded, sound passed on, sound played and recorded."""


def run(minutes: float) -> dict[str, Any]:
    """Let calls come for so long, print what changed on stderr, and return it; `pass` says whether all was flat.

    Raises:
        BenchFailed: a process did not start.
    """
    show, machine = Show(), figures.machine()
    only_trouble = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=only_trouble, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="pageline-soak-") as folder:
        home = Path(folder)
        with EmbeddedValkey(home) as valkey:
            ports = free_port(), free_port()
            with _processes(home, valkey, *ports) as pids:
                report = {"machine": machine, **uvloop.run(_soak(home, valkey.url, ports, pids, minutes * 60, show))}
    show.soak(report)
    return report


@contextmanager
def _processes(home: Path, valkey: EmbeddedValkey, web_port: int, graph_port: int) -> Iterator[dict[str, int]]:
    """Run web, media and action, each counting its own tasks, and yield everybody's process id."""
    pages = "".join(f'["{page}"]\ntoken = "x"\nhandler = "{handler}"\n' for page, handler in LINES.items())
    (home / "pages.toml").write_text(pages)
    env = {
        **stacks.settings_of(valkey.url, home, port=web_port, graph_port=graph_port),
        "PAGES_FILE": str(home / "pages.toml"),
    }
    with ExitStack() as stack:
        pids = {"valkey": int((valkey.home / "valkey.pid").read_text().split()[0])}
        for process in ("web", "media", "action"):
            command = ["pageline.bench.soak.watched", str(_inside(home, process)), process]
            server = stack.enter_context(running(process, command, env, home))
            if process == "web":
                web = server
            pids[process] = server.pid
        web.await_answer(f"http://127.0.0.1:{web_port}/readyz", containing='"ready"')
        yield pids


async def _soak(
    home: Path, redis_url: str, ports: tuple[int, int], pids: dict[str, int], lasts_s: float, show: Show
) -> dict[str, Any]:
    meta = Simulated(
        webhook_url=f"http://127.0.0.1:{ports[0]}/webhook", app_secret=SECRET, port=ports[1], recording_limit_s=0.0
    )
    ends: Counter[str] = Counter()
    looks: dict[str, list[vitals.Vitals]] = {process: [] for process in pids}
    entries: list[Counter[str]] = []
    weighed: list[tuple[int, int]] = []
    began_s = time.monotonic()
    async with (
        simulated(meta) as graph_url,
        Wire.from_url(redis_url, name="pageline-soak", timeout_s=REDIS_WITHIN_S) as wire,
    ):
        with show.progress("seconds", round(lasts_s)) as advance:
            async with asyncio.TaskGroup() as together:
                together.create_task(_ring(graph_url, lasts_s, ends))
                async for _ in _moments(lasts_s, advance):
                    kept_bytes = await keys.used_bytes(wire)
                    for process, pid in pids.items():
                        look = vitals.look(pid, _inside(home, process))
                        looks[process].append(look.without(kept_bytes) if process == "valkey" else look)
                    entries.append(await keys.sizes(wire))
                    weighed.append((ends.total(), kept_bytes))
                    for recording in (home / "recordings").glob("*.opus"):
                        if time.time() - recording.stat().st_mtime > ENDED_WITHIN_S:
                            recording.unlink()
        dead_letters = await Bus(wire).dead_letter_counts()
    flats = [flat for process, seen in looks.items() for flat in vitals.judge(process, _warm(seen))]
    told = _report(lasts_s, time.monotonic() - began_s, ends, flats, entries, weighed)
    every_min = _every_s(lasts_s) / 60
    return {
        **told,
        "dead_letters": dead_letters,
        "minutes_seen": [round(number * every_min, 2) for number in range(1, len(weighed) + 1)],
        "uss_mib": {process: [round(each.uss_mib, 1) for each in seen] for process, seen in looks.items()},
    }


def _every_s(lasts_s: float) -> float:
    return max(1.0, lasts_s / LOOKS)


async def _moments(lasts_s: float, advance: Callable[[int], None]) -> Any:
    """Yield at even intervals, `LOOKS` times in all."""
    every_s = _every_s(lasts_s)
    shown = 0
    began_s = asyncio.get_running_loop().time()
    for number in itertools.count(1):
        if number * every_s > lasts_s:
            return
        await asyncio.sleep(began_s + number * every_s - asyncio.get_running_loop().time())
        advance(round(number * every_s) - shown)
        shown = round(number * every_s)
        yield number


async def _ring(graph_url: str, lasts_s: float, ends: Counter[str]) -> None:
    """Call at a steady rate until the time is over, and wait for the last."""
    dice = random.Random("soak")
    loop = asyncio.get_running_loop()
    stop_at_s = loop.time() + lasts_s
    async with (
        httpx.AsyncClient(base_url=graph_url, timeout=ENDED_WITHIN_S + 5, trust_env=False) as simulator,
        asyncio.TaskGroup() as calls,
    ):
        while loop.time() < stop_at_s:
            wanted = {"page": dice.choice(list(LINES)), "hang_up_after_s": dice.uniform(*TALK_S)}
            calls.create_task(_call(simulator, wanted, ends))
            await asyncio.sleep(CALL_EVERY_S)


async def _call(simulator: httpx.AsyncClient, wanted: dict[str, Any], ends: Counter[str]) -> None:
    call_id = (await simulator.post("/sim/calls", json=wanted)).raise_for_status().json()["call_id"]
    waited = await simulator.get(f"/sim/calls/{call_id}/wait", params={"timeout_s": ENDED_WITHIN_S})
    call = waited.raise_for_status().json()
    ends["heard" if call["heard"]["packets"] else f"silent, {call['state']} by {call['ended_by']}"] += 1


def _report(
    lasts_s: float,
    took_s: float,
    ends: Counter[str],
    flats: list[vitals.Flat],
    entries: list[Counter[str]],
    weighed: list[tuple[int, int]],
) -> dict[str, Any]:
    quarter = len(entries) // 4
    more_entries = keys.grown(entries[quarter], entries[-1], ENTRIES_MORE) if entries else {}
    (calls_before, bytes_before), (calls_after, bytes_after) = weighed[quarter], weighed[-1]
    kib_per_call = (bytes_after - bytes_before) / 1024 / max(1, calls_after - calls_before)
    failed = ends.total() - ends["heard"]
    flat = all(each.flat for each in flats) and not more_entries and kib_per_call <= KIB_PER_CALL
    return {
        "minutes": round(lasts_s / 60, 1),
        "calls": ends.total(),
        "ends": dict(ends),
        "vitals": vitals.as_table(flats),
        "not_flat": [f"{each.process} {each.figure}" for each in flats if not each.flat],
        "redis_kib_per_call": round(kib_per_call, 1),
        "redis_entries": dict(sorted(entries[-1].items())),
        "redis_entries_grown": more_entries,
        "seconds": round(took_s, 1),
        "pass": flat and failed <= FAILED_SHARE * ends.total(),
    }


def _warm(looks: list[vitals.Vitals]) -> list[vitals.Vitals]:
    """Leave out what was seen before a process had counted anything inside."""
    counted = any(look.tasks is not None for look in looks)
    return [look for look in looks if look.tasks is not None or not counted]


def _inside(home: Path, process: str) -> Path:
    return home / f"{process}.json"
