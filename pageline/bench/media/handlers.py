"""Handlers that the product has no use for: calls bridged in pairs, and a long clip for everybody."""

import asyncio
import os
from typing import Final

from pageline import Call

CLIP: Final = "PAGELINE_BENCH_CLIP"
"""Names the environment variable with the clip's path."""

_alone: list[Call] = []


async def bridged(call: Call) -> None:
    """Bridge each call with the next one; who came first waits."""
    await call.answer()
    if _alone:
        await _alone.pop().bridge(call)
    else:
        _alone.append(call)
        await asyncio.Event().wait()


async def listen(call: Call) -> None:
    """Play the clip again and again."""
    await call.answer()
    while True:
        await call.play(os.environ[CLIP])
