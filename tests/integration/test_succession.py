"""One call's handlers on a real Valkey: who takes over when one raises, or gives the call away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from pageline import Call, CallEnded
from shared.bus import Bus
from shared.calls import facts, orders, state
from shared.errors import HandlerUnusable
from shared.handling import NO_OPTIONS, Handler
from shared.messenger import Messenger
from shared.wire import Wire
from workers.media.archive import Archive
from workers.media.casting import Cast
from workers.media.handler import Script
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.performer import Performer
from workers.media.spare_legs import SpareLegs

CALL: Final = "c_1"
RINGING: Final = state.Call(page="1", consumer="2", direction="user_initiated")
WITHIN_S: Final = 5
OPTIONS: Final = {"greeting": "hello.ogg"}

seen: list[tuple[str, Mapping[str, str]]] = []


async def stumble(call: Call) -> None:
    seen.append(("stumble", call.options))
    raise LookupError("the carpet")


async def save(call: Call) -> None:
    seen.append(("save", call.options))


async def give(call: Call) -> None:
    seen.append(("give", call.options))
    await call.transfer(save, colour="green")


async def give_to_nobody(call: Call) -> None:
    await call.transfer("nobody:answer")


async def linger(call: Call) -> None:
    try:
        await asyncio.Event().wait()
    except CallEnded:
        raise LookupError("on the way out") from None


class Players:
    """Handlers by name, and who of them takes the call."""

    def __init__(self, *cast: Handler) -> None:
        self.known = {handler.__name__: handler for handler in (stumble, save, give, give_to_nobody, linger)}
        self.cast = tuple(handler.__name__ for handler in cast)

    def of(self, _call: state.Call) -> Cast:
        return Cast(self.cast, OPTIONS)

    def script(self, name: str, options: Mapping[str, str] = NO_OPTIONS) -> Script:
        if name not in self.known:
            raise HandlerUnusable(f"there is no {name}")
        return Script(name, self.known[name], None, options)


Play = Callable[..., Awaitable[Performer]]


@pytest.fixture
async def play(redis_url: str, tmp_path: Path) -> AsyncIterator[Play]:
    """Start the handlers of a call."""
    seen.clear()
    loop, performers = asyncio.get_running_loop(), []
    async with Wire.from_url(redis_url) as wire:
        bus = Bus(wire)
        await bus.beat("one", lease_ms=60_000, capacity=1, join=True)
        now_ms = bus.now_ms()
        arrived = facts.Arrived(
            page="1", consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 60_000
        )
        await bus.route(CALL, arrived)

        async def start(*cast: Handler) -> Performer:
            performer = Performer(
                CALL,
                1,
                bus=bus,
                worker="one",
                host=Host(loop, loop),
                casting=Players(*cast),
                legs=SpareLegs(lambda: Leg(addresses=("127.0.0.1",))),
                lives={},
                archive=Archive(tmp_path, "", bus.route),
                messenger=Messenger(bus),
            )
            performers.append(performer)
            await performer.perform(orders.StartHandler(), RINGING, seq=2)
            return performer

        yield start
        for performer in performers:
            await performer.finish()


async def told(redis_url: str) -> list[facts.Fact]:
    """Return what the log says of handlers, once the last of them has ended."""
    about: list[facts.Fact] = []
    async with asyncio.timeout(WITHIN_S), Wire.from_url(redis_url) as ear:
        async for deliveries in Bus(ear).follow("one"):
            for fact in (delivery.fact for delivery in deliveries):
                if isinstance(fact, facts.HandlerStarted | facts.HandlerReplaced | facts.HandlerEnded):
                    about.append(fact)
                if isinstance(fact, facts.HandlerEnded):
                    return about
    raise AssertionError("the inbox is followed without an end")


def names(about: list[facts.Fact]) -> list[str]:
    return [fact.handler if isinstance(fact, facts.HandlerStarted) else type(fact).__name__ for fact in about]


async def test_when_one_raises_the_next_has_the_call_with_the_same_options(redis_url: str, play: Play) -> None:
    await play(stumble, save)
    about = await told(redis_url)
    assert names(about) == ["stumble", "HandlerReplaced", "save", "HandlerEnded"]
    replaced, ended = about[1], about[-1]
    assert isinstance(replaced, facts.HandlerReplaced)
    assert (replaced.because, replaced.error) == ("raised", "LookupError: the carpet")
    assert "in stumble" in replaced.traceback
    assert isinstance(ended, facts.HandlerEnded)
    assert (ended.how, ended.error) == ("returned", "")
    assert seen == [("stumble", OPTIONS), ("save", OPTIONS)]


async def test_when_all_raise_the_last_one_has_failed_the_call(redis_url: str, play: Play) -> None:
    await play(stumble, stumble)
    about = await told(redis_url)
    assert names(about) == ["stumble", "HandlerReplaced", "stumble", "HandlerEnded"]
    ended = about[-1]
    assert isinstance(ended, facts.HandlerEnded)
    assert (ended.how, ended.error) == ("raised", "LookupError: the carpet")


async def test_a_call_that_is_given_away_is_the_others_with_other_options(redis_url: str, play: Play) -> None:
    await play(give, stumble)
    about = await told(redis_url)
    assert names(about)[:2] == ["give", "HandlerReplaced"]
    replaced = about[1]
    assert isinstance(replaced, facts.HandlerReplaced)
    assert (replaced.because, replaced.error) == ("transferred", "")
    assert names(about)[3:] == ["HandlerEnded"]
    assert seen == [("give", OPTIONS), ("save", {"colour": "green"})]


async def test_who_gives_a_call_to_nobody_has_raised(redis_url: str, play: Play) -> None:
    await play(give_to_nobody, save)
    about = await told(redis_url)
    assert names(about) == ["give_to_nobody", "HandlerReplaced", "save", "HandlerEnded"]


async def test_nobody_takes_over_a_call_that_has_ended(redis_url: str, play: Play) -> None:
    performer = await play(linger, save)
    await performer.perform(orders.StopHandler("completed"), RINGING, seq=3)
    about = await told(redis_url)
    assert names(about) == ["linger", "HandlerEnded"]
    assert seen == []
