"""Handlers as a user would write them; the tests lay this file into the working directory of the processes."""

import json
from pathlib import Path

from pageline import AnswerRefused, Call, Spoken


async def duet(call: Call) -> None:
    """Hum one tone while the caller hums another, and keep what the caller hums."""
    await call.answer()
    async with call.record(f"{call.id}.wav"):
        await call.play("tone.wav")


async def minutes(call: Call) -> None:
    """Hold the line for a while, and keep what the caller says decoded."""
    await call.answer()
    async with call.record(f"{call.id}.wav"):
        await call.play(*["tone.wav"] * 8)


async def witness(call: Call) -> None:
    """Write down why the answer was refused."""
    try:
        await call.answer()
    except AnswerRefused as refused:
        seen = {"code": refused.code, "subcode": refused.subcode, "fbtrace_id": refused.fbtrace_id}
        Path(f"{call.id}.json").write_text(json.dumps(seen))  # noqa: ASYNC240 a user would


async def stumble(call: Call) -> None:
    """Answer, then break."""
    await call.answer()
    raise LookupError("the receptionist stumbled over the carpet")


async def hand_over(call: Call) -> None:
    """Keep what both say while the caller is on hold, until a key leads to the answering machine."""
    await call.answer()
    async with call.record(f"{call.id}.opus", stereo=True):
        await call.hold("tone.wav")
        await call.ask(timeout_s=20)
        await call.resume()
        await call.transfer("workers.handlers.voicemail:answer", voicemail_greeting="high.wav")


async def intrude(call: Call) -> None:
    """Join the conference, and break at the first key."""
    from conference import room

    await call.answer()
    async with call.join(room):
        await call.ask(timeout_s=20)
        raise LookupError("the receptionist stumbled into the conference")


async def menu(call: Call) -> None:
    """Ask for a choice and a number, and keep them."""
    await call.answer()
    choice = await call.ask("tone.wav", digits=1, timeout_s=20)
    number = await call.ask("tone.wav", digits=12, timeout_s=20)
    Path(f"{call.id}.json").write_text(json.dumps([choice, number]))  # noqa: ASYNC240 a user would


async def speak(call: Call) -> None:
    """Speak a text, and ask in another one."""
    await call.answer()
    await call.say("Good morning.")
    Path(f"{call.id}.json").write_text(await call.ask(Spoken("Press a key."), timeout_s=20))  # noqa: ASYNC240


async def write(call: Call) -> None:
    """Say it in writing, too; and once more when the caller has gone."""
    try:
        await call.message("We will call you back.")
        await call.answer()
        await call.message("Or call us.", call_button="Call us", days=2)
        await call.play(*["tone.wav"] * 8)
    finally:
        await call.prompt_call(ttl_days=5)
