"""Play a prompt, say goodbye, hang up; `record` also keeps what the caller says meanwhile."""

from importlib.resources import files

from pageline import Call

_SOUNDS = files("workers.handlers") / "sounds"
WELCOME = str(_SOUNDS / "welcome.ogg")
GOODBYE = str(_SOUNDS / "goodbye.ogg")


async def answer(call: Call) -> None:
    """Play the prompt and say goodbye; returning hangs up."""
    await call.answer()
    await call.play(WELCOME, GOODBYE)


async def record(call: Call) -> None:
    """The same, while what the caller says goes to a file."""
    await call.answer()
    async with call.record():
        await call.play(WELCOME, GOODBYE)
