"""A handler for the chaos tests; they lay it into the working directory of the processes."""

import asyncio
from pathlib import Path

from pageline import Call


async def answer(call: Call) -> None:
    """Answer and listen; on the Page `hesitant` only a second worker gets as far as answering."""
    if call.page == "1002" and call.epoch == 1:
        await asyncio.Event().wait()
    await call.answer()
    async for frame in call.hear():
        call.send(frame)


async def on_lost(call: Call) -> None:
    """Note that the call was lost."""
    Path(f"{call.id}.lost").touch()  # noqa: ASYNC240 a user would
