"""A handler that watches, shows, shares and mutes, and writes down what it saw."""

import asyncio
import json
from pathlib import Path

from pageline import Call, CallEnded, Image, MediaRefused

WIDTH, HEIGHT = 320, 240


def moving(number: int) -> Image:
    """A bright bar that moves over grey."""
    line = bytearray(b"\x50" * WIDTH)
    at = number * 8 % (WIDTH - 40)
    line[at : at + 40] = b"\xe0" * 40
    return Image(WIDTH, HEIGHT, bytes(line) * HEIGHT + b"\x80" * (WIDTH * HEIGHT // 2))


async def show(call: Call, count: int) -> None:
    for number in range(count):
        call.show(moving(number))
        await asyncio.sleep(0.04)


async def answer(call: Call) -> None:
    def note(what: str, **more: object) -> None:
        with Path(f"{call.caller}.jsonl").open("a") as notes:
            notes.write(json.dumps({"what": what, **more}) + "\n")

    await call.answer()
    note("answered")
    try:
        await call.start_video()
        note("started")
        await show(call, 60)
        images = []
        async for picture in call.watch():
            image = await picture.decode()
            if image is not None:
                images.append((image.width, image.height, sum(image.i420[: image.width]) // image.width))
            if len(images) == 20:
                break
        note("watched", images=images)
        await call.share_screen()
        note("shared")
        await show(call, 25)
        await call.stop_video()
        note("stopped")
        await call.mute()
        note("muted")
        await asyncio.sleep(1)  # of nothing being heard
        await call.unmute()
        note("unmuted")
        await call.start_video()
        note("started again")
    except MediaRefused as refused:
        note("refused", why=str(refused))
    try:
        await asyncio.Event().wait()
    except CallEnded:
        note("ended")
        raise


async def everything(call: Call) -> None:
    """Speak, listen, show, look, and hang up at a key."""
    await call.answer()
    await call.play("tone.wav")
    heard = call.hear()
    for _ in range(25):
        await anext(heard)
    await call.start_video()
    await show(call, 40)
    async for picture in call.watch():
        if await picture.decode() is not None:
            break
    await call.stop_video()
    call.log.info("key.pressed", key=await call.ask("tone.wav", timeout_s=20))
