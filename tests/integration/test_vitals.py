"""What an operator sees of processes: how they are, and the counts of several web processes behind one port as one."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from shared import jobs, vitals
from shared.tally import Tally
from shared.tally import read as read_tally
from shared.vitals import GONE_AFTER_MS, Pulse
from shared.wire import Wire
from tests.acceptance.line import COMMANDS, Process, free_port, readiness
from tests.acceptance.standin import until
from workers.media.load import Load

NOW_MS = 1_700_000_000_000


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    async with Wire.from_url(redis_url) as wire:
        yield wire


async def test_a_process_tells_how_it_is_until_it_is_gone(wire: Wire) -> None:
    load = Load(0.02)
    for late_s in (0.001,) * 19 + (0.030,):
        load.note(late_s)
    await Pulse("media", wire, lambda: NOW_MS, load.late_ms).tell()
    await Pulse("action", wire, lambda: NOW_MS).tell()

    known = await vitals.read(wire, NOW_MS + 1)
    media, action = sorted(known.living, key=lambda vital: vital.kind, reverse=True)
    assert (media.kind, media.late_max_ms, action.kind, action.late_max_ms) == ("media", 30.0, "action", None)
    assert media.rss_bytes > 10_000_000
    assert known.cpu_s["media"] > 0

    later = await vitals.read(wire, NOW_MS + GONE_AFTER_MS)
    assert later.living == []
    assert later.cpu_s == known.cpu_s
    assert await wire.call("HLEN", vitals.KEY) == 0


async def test_processor_time_is_counted_once(wire: Wire) -> None:
    pulse = Pulse("web", wire, lambda: NOW_MS)
    for _ in range(3):
        await pulse.tell()
    told_s = (await vitals.read(wire, NOW_MS)).cpu_s["web"]
    assert 0 < told_s <= time.process_time()


async def test_handlers_and_jobs_that_wait_are_counted(wire: Wire) -> None:
    tally = Tally()
    for how in ("raised", "returned", "raised"):
        tally.handler_ended(how)
    await tally.add_to(wire)
    assert (await read_tally(wire)).handlers == {"raised": 2, "returned": 1}
    await jobs.enqueue(wire, "bulk", "workers.action.jobs.forward", ["x"], job_id="forward-x", timeout_s=9)
    assert await jobs.depths(wire) == {"accept": 0, "control": 0, "bulk": 1}


@pytest.fixture
def two_webs(redis_url: str, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    env = {"META_APP_SECRET": "s3cret", "META_VERIFY_TOKEN": "v", "REDIS_URL": redis_url}
    env |= {"HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "2"}
    process = Process([f"{COMMANDS}/pageline", "web"], home=tmp_path, env=env)
    base = f"http://127.0.0.1:{port}"
    until(lambda: readiness(base) == "degraded", "the web processes", timeout_s=60)
    yield base
    process.stop()


def test_web_processes_behind_one_port_count_together(two_webs: str) -> None:
    """Each request comes on a connection of its own, and so to any of them."""
    until(lambda: _sum(two_webs, 'pageline_processes{kind="web"}') == 2, "both", timeout_s=30)
    for _ in range(12):
        assert httpx.post(f"{two_webs}/webhook", content=b"{}").status_code == 401
    refused = [_sum(two_webs, 'pageline_webhook_posts_total{status="401"}') for _ in range(12)]
    assert refused == [12.0] * 12


def _sum(base: str, name: str) -> float:
    lines = httpx.get(f"{base}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
