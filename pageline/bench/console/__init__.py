"""How soon the console shows what there is, with many calls in the log."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

from pageline.bench import figures, stacks
from pageline.bench.console import planted
from pageline.bench.processes import BenchFailed
from pageline.bench.show import Show
from shared import api_keys
from shared.wire import Wire

AIM_MS: Final = 1_000
SECTIONS: Final = frozenset({"calls", "recent", "hours", "workers", "deaths", "queues", "wrongs", "dead"})


def run(calls: int, show: Show) -> dict[str, Any]:
    """Plant the calls and open the console in front of them; return what each view took, ms, the first one cold."""
    key, machine = api_keys.new(), figures.machine()
    settings = {"PAGELINE_API_KEYS": key}
    with (
        tempfile.TemporaryDirectory(prefix="pageline-bench-") as folder,
        stacks.ours("console", Path(folder), settings=settings) as stack,
    ):
        with show.progress("calls of a day are written", calls) as advance:
            ids = asyncio.run(_plant(stack.redis_url, calls, advance))
        base = stack.url.removesuffix("/webhook")
        with httpx.Client(base_url=base, headers={"origin": base}, timeout=30, trust_env=False) as client:
            client.post("/console/login", data={"key": key})
            with show.busy("the console is opened"):
                rows = _measured(client, ids)
    met = all(row["ms"] <= AIM_MS for row in rows)
    return {"machine": machine, "calls": calls, "rows": rows, "aim": {"ms": AIM_MS, "met": met}}


async def _plant(redis_url: str, calls: int, advance: Callable[[int], None]) -> list[str]:
    async with Wire.from_url(redis_url, timeout_s=30.0) as wire:
        return await planted.plant(wire, calls, advance=advance)


def _measured(client: httpx.Client, ids: list[str]) -> list[dict[str, Any]]:
    middle = ids[len(ids) // 2]
    half_a_day_ago_ms = int(time.time() * 1000) - planted.DAY_MS // 2
    views: dict[str, Callable[[], object]] = {
        "overview, cold": lambda: _overview(client),
        "overview, again": lambda: _overview(client),
        "list, its first page": lambda: _got(client.get("/console/data/calls")),
        "list, far back": lambda: _got(client.get("/console/data/calls", params={"before": half_a_day_ago_ms})),
        "search by the beginning of an id": lambda: _got(client.post("/console/data/find", data={"q": middle[:12]})),
        "search by a PSID": lambda: _got(client.post("/console/data/find", data={"q": "5200000000000000"})),
        "one call": lambda: _got(client.get(f"/console/data/calls/{middle}")),
    }
    return [{"view": view, "ms": _took(look)} for view, look in views.items()]


def _took(look: Callable[[], object]) -> float:
    began = time.perf_counter()
    look()
    return round((time.perf_counter() - began) * 1000, 1)


def _overview(client: httpx.Client) -> None:
    """Load the page and what it needs, and wait for every section of the view."""
    for path in ("/console", "/console/base.css", "/console/console.css", "/console/console.js"):
        client.get(path).raise_for_status()
    missing = set(SECTIONS)
    with client.stream("GET", "/console/events") as events:
        for line in events.iter_lines():
            missing.discard(line.removeprefix("event: "))
            if not missing:
                return
    raise BenchFailed(f"the stream of the console ended without {', '.join(sorted(missing))}")


def _got(reply: httpx.Response) -> None:
    reply.raise_for_status()
