"""The handler of the storm: does with each call what the call's id says."""

import asyncio

from pageline import Call
from pageline.bench.storm.plan import Fate, fate_of


class Clumsy(Exception):
    """What a handler with a bug raises."""


async def handle(call: Call) -> None:
    """Reject, answer, fail, or let it ring."""
    match fate_of(call.id):
        case Fate.DECLINED:
            await call.reject("no time")
        case Fate.ANSWERED | Fate.FORSAKEN:
            await call.answer()
        case Fate.RAISED:
            raise Clumsy
        case _:
            await asyncio.Event().wait()


async def on_lost(call: Call) -> None:
    """Take note, as a user's would."""
    call.log.info("storm.lost", epoch=call.epoch)
