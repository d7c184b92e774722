"""Call after call in one process: nothing of them may stay behind."""

import asyncio
import gc
import os
import threading
from dataclasses import dataclass

import psutil
import pytest

from tests.integration.test_leg import OURS, THEIRS, call, until

WARM_UP = 20
"""Calls until every cache is filled and every lazy import is done."""

OBJECTS_PER_CALL, BYTES_AT_MOST = 0.5, 4_000_000
"""One object that a call leaves would double the first; the second is what an allocator rounds up and keeps."""


@dataclass(frozen=True)
class Holdings:
    """What a process holds."""

    objects: int
    tasks: int
    files: int
    threads: int
    resident_bytes: int


async def holdings(before: Holdings | None = None) -> Holdings:
    """Count what is held now, as soon as what ends by itself has ended."""
    process = psutil.Process(os.getpid())
    if before is not None:
        await until(lambda: len(asyncio.all_tasks()) <= before.tasks and process.num_fds() <= before.files)
    gc.collect()
    return Holdings(
        objects=len(gc.get_objects()),
        tasks=len(asyncio.all_tasks()),
        files=process.num_fds(),
        threads=threading.active_count(),
        resident_bytes=process.memory_info().rss,
    )


async def one_call() -> None:
    """Offer, answer, connect, say and hear something, hang up."""
    async with call() as (leg, far):
        for number in range(3):
            assert leg.send_packet(OURS[number])
            await far.send(THEIRS[number], number)
        await until(lambda: leg.figures().packets_received == 3)
        leg.pull()
    if far._listening is not None:
        far._listening.cancel()


async def grow(calls: int, logged: pytest.LogCaptureFixture) -> None:
    """Fail if anything grows with the number of calls."""
    for _ in range(WARM_UP):
        await one_call()
    before = await holdings()
    for _ in range(calls // 2):
        await one_call()
    halfway = await holdings(before)
    for _ in range(calls // 2):
        await one_call()
    logged.clear()  # a stray datagram that the far side could not read would keep its whole stack
    after = await holdings(before)
    assert (after.tasks, after.files, after.threads) == (before.tasks, before.files, before.threads)
    assert after.objects - before.objects < max(50, calls * OBJECTS_PER_CALL)
    assert after.resident_bytes - halfway.resident_bytes < BYTES_AT_MOST, "it does not level off"


async def test_many_calls_in_a_row_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    await grow(80, caplog)
