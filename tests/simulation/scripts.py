"""Handlers for simulated calls, as users might write them; each Page has its own."""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Final

from pageline import Call, CallEnded, MediaRefused
from shared.calls import state
from shared.handling import NO_OPTIONS
from workers.handlers.announce import GOODBYE
from workers.media.casting import Cast
from workers.media.handler import Script

PLANNED: Final = "planned by the simulation"


async def talk(call: Call) -> None:
    """Answer, say something and then nothing for a while."""
    await call.answer()
    await call.play(GOODBYE)
    await asyncio.sleep(6)  # virtual seconds


async def hear(call: Call) -> None:
    """Answer and listen until the consumer goes."""
    await call.answer()
    async for _frame in call.hear():
        pass


async def forward(call: Call) -> None:
    """Answer, and send back whatever comes."""
    await call.answer()
    await call.bridge(call)


async def show(call: Call) -> None:
    """Answer, and change the media now and then."""
    await call.answer()
    for change in (call.start_video, call.mute, call.share_screen, call.unmute, call.stop_video):
        with contextlib.suppress(MediaRefused):
            await change()
        await asyncio.sleep(1)  # virtual seconds


async def hesitate(call: Call) -> None:
    """Take long to answer."""
    await asyncio.sleep(9)  # virtual seconds
    await talk(call)


async def reject(call: Call) -> None:
    """Decline."""
    await asyncio.sleep(0.5)  # virtual seconds
    await call.reject("closed")


async def hang_up(call: Call) -> None:
    """Answer, and end it."""
    await call.answer()
    await call.hang_up()


async def break_down(call: Call) -> None:
    """Answer, and raise."""
    await call.answer()
    await asyncio.sleep(2)  # virtual seconds
    raise RuntimeError(PLANNED)


async def lose_patience(call: Call) -> None:
    """Begin to answer, and think better of it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.01 + random.random() * 0.3):
            await call.answer()


async def sleep(_call: Call) -> None:
    """Never answer."""
    await asyncio.sleep(300)  # virtual seconds


async def ignore(_call: Call) -> None:
    """Return without a word."""


async def linger(call: Call) -> None:
    """Take longer to leave than anybody waits."""
    try:
        await hear(call)
    except CallEnded:
        await asyncio.sleep(20)  # longer than the grace


async def mourn(_call: Call) -> None:
    """Run where a call was lost."""
    await asyncio.sleep(1)  # virtual seconds


_HANDLERS: Final = (
    talk,
    talk,
    hear,
    forward,
    show,
    hesitate,
    reject,
    hang_up,
    break_down,
    ignore,
    linger,
    lose_patience,
    sleep,
)
SCRIPTS: Final = {
    str(100 + number): Script(f"scripts:{handler.__name__}", handler, mourn if number % 2 else None)
    for number, handler in enumerate(_HANDLERS)
}
"""By Page."""
TOKENLESS: Final = "1000"
"""A Page that nobody gave a token for."""

PAGES: Final = (*SCRIPTS, TOKENLESS)


CALLERS: Final = (
    "talk",
    "talk",
    "hear",
    "forward",
    "hesitate",
    "hang_up",
    "break_down",
    "ignore",
    "linger",
    "show",
    "lose_patience",
    "sleep",
)
"""Handlers for calls that we place."""


class Casting:
    """Who answers for a Page; on some, whoever breaks down has somebody to take over."""

    def of(self, call: state.Call) -> Cast:
        page = call.page if call.page in SCRIPTS else "100"
        heirs = (page_of("break_down"), page_of("talk")) if int(page) % 2 else ()
        return Cast((page, *heirs))

    def script(self, name: str, options: Mapping[str, str] = NO_OPTIONS) -> Script:
        return SCRIPTS[name]


def page_of(name: str) -> str:
    """Return the Page for which a handler answers."""
    return next(page for page, script in SCRIPTS.items() if script.handler.__name__ == name)
