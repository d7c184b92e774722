"""Handlers that the product has no use for: calls bridged in pairs, and a long clip for everybody."""

import asyncio
import os
from typing import Final

from pageline import Call

CLIP: Final = "PAGELINE_BENCH_CLIP"
"""Names the environment variable with the clip's path."""

BOT: Final = "PAGELINE_BENCH_BOT"
"""Names the environment variable with the bot's URL."""

_alone: list[tuple[Call, asyncio.Event]] = []


async def bridged(call: Call) -> None:
    """Bridge each call with another; who has no partner, or no longer, is there for the next who comes."""
    await call.answer()
    while True:
        if _alone:
            other, over = _alone.pop()
            try:
                await other.bridge(call)
            finally:
                over.set()
        else:
            waiting = call, asyncio.Event()
            _alone.append(waiting)
            try:
                await waiting[1].wait()
            finally:
                if waiting in _alone:
                    _alone.remove(waiting)


async def listen(call: Call) -> None:
    """Play the clip again and again."""
    await call.answer()
    while True:
        await call.play(os.environ[CLIP])


async def bot(call: Call) -> None:
    """Let a bot talk over Media Streams."""
    await call.answer()
    await call.stream(os.environ[BOT])


async def pcm_bot(call: Call) -> None:
    """Let a bot talk in 16-bit PCM."""
    await call.answer()
    await call.stream(os.environ[BOT], protocol="pcm16k")
