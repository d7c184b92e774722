"""Handlers for the chaos tests; they lay this file into the working directory of the processes."""

import asyncio
from pathlib import Path

from pageline import Call


async def converse(call: Call) -> None:
    """Answer, and send back what is heard, through PCM."""
    await call.answer()
    async for frame in call.hear():
        call.send(frame)


async def forward(call: Call) -> None:
    """Answer, and send the packets back as they come."""
    await call.answer()
    await call.bridge(call)


async def hesitate(call: Call) -> None:
    """Let it ring; only a second worker gets as far as answering."""
    if call.epoch == 1:
        await asyncio.Event().wait()
    await converse(call)


async def announce(call: Call) -> None:
    """Answer, hum for a second and a half, and hang up."""
    await call.answer()
    await call.play("tone.wav")


async def hang_up_when_told(call: Call) -> None:
    """Answer and converse, and hang up as soon as there is a file named after the call."""
    await call.answer()
    async for frame in call.hear():
        call.send(frame)
        if Path(f"{call.id}.enough").exists():  # noqa: ASYNC240 a user would
            break
    await call.hang_up()


async def on_lost(call: Call) -> None:
    """Note that the call was lost."""
    Path(f"{call.id}.lost").touch()  # noqa: ASYNC240 a user would
