"""Handlers that the product has no use for: calls bridged in pairs, and a long clip for everybody."""

import asyncio
import os
from typing import Final

from pageline import Call

CLIP: Final = "PAGELINE_BENCH_CLIP"
"""Names the environment variable with the clip's path."""

_alone: list[tuple[Call, asyncio.Event]] = []


async def bridged(call: Call) -> None:
    """Bridge each call with the next one; who came first waits, and both end together."""
    await call.answer()
    if _alone:
        other, over = _alone.pop()
        try:
            await other.bridge(call)
        finally:
            over.set()
        return
    over = asyncio.Event()
    _alone.append((call, over))
    try:
        await over.wait()
    finally:
        if (call, over) in _alone:
            _alone.remove((call, over))


async def listen(call: Call) -> None:
    """Play the clip again and again."""
    await call.answer()
    while True:
        await call.play(os.environ[CLIP])
