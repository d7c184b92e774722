"""Meta's postman: signed webhooks, late, in any order, together, more than once, and again until somebody says 200."""

import asyncio
import hashlib
import hmac
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.simulation.meta import Event
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import START_UNIX_S, VirtualLoop

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
SECRET: Final = "simulated"


@dataclass
class Letter:
    """One event on its way."""

    page: str
    event: Event
    arrived: int = 0
    """How often it was answered with 200."""


@dataclass
class Manners:
    """How badly the postman behaves."""

    late: float = 0.0
    latest_s: float = 0.0
    together: float = 0.0
    twice: float = 0.0
    lost_answer: float = 0.0


class Postman:
    """Delivers every event at least once, if anybody is ever there."""

    def __init__(
        self,
        loop: VirtualLoop,
        chance: random.Random,
        trace: Trace,
        post: Callable[[bytes, bytes], Awaitable[int | None]],
    ) -> None:
        self.manners = Manners()
        self.on_post: Callable[[Event], None] = lambda event: None
        """Told of every event in every attempt."""
        self.taken: list[Event] = []
        """What was answered with 200."""
        self._loop = loop
        self._chance = chance
        self._trace = trace
        self._post = post
        self._bag: dict[int, Letter] = {}
        self._number = 0
        self._on_the_way = 0

    @property
    def idle(self) -> bool:
        """Whether everything was delivered."""
        return not self._bag and not self._on_the_way

    def send(self, event: Event, page: str) -> None:
        """Take an event; it leaves soon, usually."""
        self._drop_in(Letter(page, event))

    def _drop_in(self, letter: Letter) -> None:
        late = self._chance.random() < self.manners.late
        delay_s = self._chance.uniform(0.0, self.manners.latest_s) if late else self._chance.uniform(0.01, 0.2)
        self._number += 1
        self._bag[self._number] = letter
        self._loop.call_later(delay_s, self._leave, self._number, context=self._loop.outside.context)

    def _leave(self, number: int) -> None:
        """Start with one letter, and others that happen to be in the bag."""
        if number not in self._bag:
            return
        batch = [self._bag.pop(number)]
        if self._chance.random() < self.manners.together:
            batch += [self._bag.pop(other) for other in tuple(self._bag) if self._chance.random() < 0.5]
            self._chance.shuffle(batch)
        self._on_the_way += 1
        self._loop.spawn(self._loop.outside, self._deliver(batch))

    async def _deliver(self, batch: list[Letter]) -> None:
        body = _body(batch)
        named = ", ".join(f"{letter.event['id']} {letter.event['event']}" for letter in batch)
        status, attempt = None, 0
        while status != 200:
            if attempt:
                pause_s = PAUSES_S[min(attempt, len(PAUSES_S)) - 1]
                await asyncio.sleep(pause_s * self._chance.uniform(0.8, 1.2))
            attempt += 1
            for letter in batch:
                self.on_post(letter.event)
            status = await self._post(body, _signature(body))
            self._trace.note(f"webhook [{named}] attempt {attempt}: {status}", who="postman")
        for letter in batch:
            letter.arrived += 1
            self.taken.append(letter.event)
            if self._chance.random() < self.manners.twice:
                self._drop_in(letter)
        self._on_the_way -= 1


def _body(batch: list[Letter]) -> bytes:
    entries = [{"id": letter.page, "time": int(START_UNIX_S)} | _told(letter.event) for letter in batch]
    return json.dumps({"object": "page", "entry": entries}).replace("/", r"\/").encode()


def _told(event: Event) -> Event:
    if event["event"] != "call_permission_reply":
        return {"calls": [event]}
    return {"messaging": [{name: event[name] for name in event if name not in ("event", "id")}]}


def _signature(body: bytes) -> bytes:
    return b"sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest().encode()
