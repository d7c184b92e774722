"""Let callers hear themselves: `answer` through PCM, `forward` packet by packet and undecoded."""

from pageline import Call


async def answer(call: Call) -> None:
    """Decode what the caller says, and send it back encoded anew."""
    await call.answer()
    async for frame in call.hear():
        call.send(frame)


async def forward(call: Call) -> None:
    """Send the caller's packets back as they came."""
    await call.answer()
    await call.bridge(call)
