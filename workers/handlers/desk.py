"""Let callers wait for an agent of the desk, with music, and talk; whom nobody takes leaves a message, or is called."""

import asyncio
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Literal

from pageline import Agent, Call, Place, line
from workers.handlers import environment, voicemail

_SOUNDS = files("workers.handlers") / "sounds"
MUSIC: Final = str(_SOUNDS / "waiting_music.ogg")
YOU_ARE_NUMBER: Final = str(_SOUNDS / "you_are_number.ogg")
NUMBERS: Final = tuple(str(_SOUNDS / f"number_{number}.ogg") for number in range(1, 10))
PRESS_FOR_CALL_BACK: Final = str(_SOUNDS / "press_one_for_a_call_back.ogg")
CALL_BACK_PROMISED: Final = str(_SOUNDS / "we_will_call_you_back.ogg")


@dataclass(frozen=True)
class Terms:
    """On what terms callers wait."""

    queue: str = "default"
    overflow_s: float = 120.0
    """Nobody waits longer."""
    overflow: Literal["voicemail", "callback"] = "voicemail"
    music: str = MUSIC
    announce_s: float = 30.0
    """How often callers are told their place."""


TERMS: Final = Terms(
    environment.text("DESK_QUEUE", Terms.queue),
    environment.seconds("DESK_OVERFLOW_SECONDS", Terms.overflow_s),
    "callback" if environment.choice("DESK_OVERFLOW", "voicemail", "callback") == "callback" else "voicemail",
    environment.sound("DESK_MUSIC", MUSIC),
    environment.seconds("DESK_ANNOUNCE_SECONDS", Terms.announce_s),
)


async def answer(call: Call) -> None:
    """Answer, and let the caller have an agent."""
    await call.answer()
    await attend(call)


async def call_back(call: Call) -> None:
    """Call somebody back who waited in vain: it is their turn."""
    await call.answer()
    await attend(call, ahead=True)


async def attend(call: Call, terms: Terms = TERMS, *, ahead: bool = False) -> None:
    """Let a caller wait and talk until an agent hangs up, or nobody takes the call."""
    queue, colleague = call.options.get("desk_queue") or terms.queue, ""
    while True:
        agent = await wait(call, terms, queue, colleague, ahead=ahead)
        if agent is None and colleague:  # who has left the desk: anybody will do
            colleague, ahead = "", True
            continue
        if agent is None:
            await overflow(call, terms)
            return
        parted = await call.talk(agent, music=terms.music)
        if parted.how == "hung_up":
            return
        queue, colleague, ahead = parted.queue or queue, parted.agent, parted.how == "lost"


async def wait(call: Call, terms: Terms, queue: str, colleague: str, *, ahead: bool) -> Agent | None:
    """Let a caller hear music until an agent has taken the call; None where nobody did."""
    async with call.queue(queue, agent=colleague, ahead=ahead) as place:
        music = asyncio.create_task(_entertain(call, terms, place))
        try:
            return await place.agent(within_s=terms.overflow_s)
        finally:
            music.cancel()


async def overflow(call: Call, terms: Terms) -> None:
    """Do what is done for who waited in vain."""
    if terms.overflow == "callback" and await call.ask(PRESS_FOR_CALL_BACK) == "1":
        await line.call(call.page, call.caller, call_back, ask_permission=True, key=call.id)
        await call.play(CALL_BACK_PROMISED)
    else:
        await voicemail.take_voicemail(call)


async def _entertain(call: Call, terms: Terms, place: Place) -> None:
    while True:
        playing = asyncio.create_task(_play_over_and_over(call, terms.music))
        try:
            await asyncio.wait({playing}, timeout=terms.announce_s)
            if playing.done():
                playing.result()
        finally:
            playing.cancel()
        if 0 < place.position <= len(NUMBERS):
            await call.play(YOU_ARE_NUMBER, NUMBERS[place.position - 1])


async def _play_over_and_over(call: Call, music: str) -> None:
    while True:
        await call.play(music)
