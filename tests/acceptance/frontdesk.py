"""Handlers for the test of overload; it lays this file into the working directory of the processes."""

import asyncio

from pageline import Call


async def answer(call: Call) -> None:
    """Sound a pilot tone for as long as the caller listens."""
    await call.answer()
    await call.play("pilot.wav")


async def hog(call: Call) -> None:
    """Keep the interpreter to itself for most of the time, as a library in C may, until the caller has enough."""
    await call.answer()
    while True:
        sum(range(4_000_000))
        await asyncio.sleep(0.005)
