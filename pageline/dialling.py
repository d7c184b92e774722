"""`pageline dial` and `pageline hangup`: a call is placed and ended over Redis, as `/v1/calls` does."""

import asyncio
import sys
from typing import Any, Final, NamedTuple

from pageline.story import ask
from shared.bus import Bus
from shared.calls import facts
from shared.calls.summary import summary
from shared.errors import BadSetting
from shared.outbound import Outbound, ours_of
from shared.settings import Settings

LOOKED_AT_EVERY_S: Final = 0.25


class Wish(NamedTuple):
    """A call that somebody wants placed; see `shared.line.Line.call`."""

    page: str
    psid: str
    handler: str
    ask_permission: bool
    within_s: float | None
    ring_s: float
    key: str


def dial(settings: Settings, wish: Wish, *, wait: bool, quiet: bool) -> dict[str, Any]:
    """Place the call and return what became of it so far, or with `wait` in the end.

    Raises:
        BadSetting: the handler is in no module that is configured.
        KeyReused: the key was used for another call.
    """
    if wish.handler and not settings.may_run(wish.handler):
        raise BadSetting(f"{wish.handler} is in no module that is configured. Add it to CALL_HANDLERS.")

    async def place(bus: Bus) -> dict[str, Any]:
        await bus.beat(lease_ms=settings.lease_ms)  # the clock that counts is the server's
        outbound = Outbound(bus)
        placed = outbound.wanted(
            wish.page,
            wish.psid,
            handler=wish.handler,
            ask_permission=wish.ask_permission,
            within_s=wish.within_s,
            ring_s=wish.ring_s,
        )
        call_id = await outbound.place(placed, key=wish.key)
        return await _follow(bus, call_id, quiet=quiet) if wait else await _told(bus, call_id)

    told = ask(settings, place)
    if not quiet and not wait:
        _say(f"{told['call_id']} is being placed; `pageline call {told['call_id']}` tells how it goes.")
    return told


def hang_up(settings: Settings, call_id: str) -> dict[str, Any] | None:
    """Have a call ended; none where nothing is known of it."""

    async def end(bus: Bus) -> dict[str, Any] | None:
        kept_as = await ours_of(bus, call_id)
        if not await bus.read_log(kept_as):
            return None
        await bus.route(kept_as, facts.HangUpAsked(by="operator"))
        return await _told(bus, kept_as)

    return ask(settings, end)


def say_how_it_ends(told: dict[str, Any]) -> None:
    """Say what becomes of a call that was hung up."""
    over = f"had ended: {told['outcome']}, {told['because']}" if told["phase"] == "ended" else "is being ended"
    _say(f"{told['call_id']} {over}; `pageline call {told['call_id']}` tells its story.")


async def _follow(bus: Bus, call_id: str, *, quiet: bool) -> dict[str, Any]:
    """Tell of each phase as it comes, until the call has ended."""
    phase = ""
    while True:
        told = await _told(bus, call_id)
        if told["phase"] != phase:
            phase = told["phase"]
            if not quiet:
                because = f": {told['outcome']}, {told['because']}" if told["outcome"] else ""
                _say(f"{call_id} {phase}{because}")
        if phase == "ended":
            return told
        await asyncio.sleep(LOOKED_AT_EVERY_S)  # another process's log


async def _told(bus: Bus, call_id: str) -> dict[str, Any]:
    return summary(call_id, [entry.fact for entry in await bus.read_log(call_id)])


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 progress; stdout is for --json
