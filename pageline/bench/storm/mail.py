"""Brings webhooks in disorder: shuffled, repeated, many in one POST, one POST many times; each until it is taken.

A POST that was not answered 200 is sent again, byte by byte the same, as Meta does; what was answered 200 must never be
lost, and what was not may have been kept all the same.
"""

import asyncio
import contextlib
import random
from collections import defaultdict
from typing import Any, Final, NamedTuple

from pageline.bench import events

POSTMEN: Final = 24
SCATTER_S: Final = 0.25
"""Within this time events overtake each other."""
LATE_S: Final = 8.0
"""So much later a repeat may still come, when its call has long ended."""
COLLECTING_S: Final = 0.12
SIZES: Final = (1, 1, 1, 1, 2, 3, 8, 30, 200)
"""How many elements a postman takes along, at most."""
COPIES: Final = ((0, 60), (1, 28), (2, 10), (12, 2))
"""How often an element is repeated, and in how many of a hundred cases."""
SAME_POST_AGAIN: Final = 0.08
REPLY_WITHIN_S: Final = 20.0
AGAIN_AFTER_S: Final = (0.02, 0.5)


class Element(NamedTuple):
    """One event of one call; `mark` names what must be found in the call's log."""

    call_id: str
    page: str
    mark: str
    body: dict[str, Any]


class Mail:
    """A bag of elements, and the postmen who empty it."""

    def __init__(self, urls: list[str], seed: int) -> None:
        self._urls = urls
        self._dice = random.Random(f"mail {seed}")
        self._bag: list[Element] = []
        self._coming = 0
        self._in_hand = 0
        self._some = asyncio.Event()
        self.kept: dict[str, set[str]] = defaultdict(set)
        """The marks of what was answered 200, by call."""
        self.posts = self.refused_posts = self.elements = 0

    @property
    def duplicates_sent(self) -> int:
        """Return how many elements of confirmed POSTs were repeats."""
        return self.elements - sum(len(marks) for marks in self.kept.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way or to come."""
        return not (self._bag or self._coming or self._in_hand)

    def put(self, element: Element) -> None:
        """Have an element delivered soon, and perhaps again later."""
        self._later(element, self._dice.uniform(0, SCATTER_S))
        for _ in range(_weighted(self._dice, COPIES)):
            self._later(element, self._dice.choice((SCATTER_S, LATE_S)) * self._dice.random())

    async def deliver(self) -> None:
        """Let the postmen work until cancelled."""
        async with asyncio.TaskGroup() as postmen:
            for number in range(POSTMEN):
                postmen.create_task(self._walk(), name=f"postman {number}")

    def _later(self, element: Element, after_s: float) -> None:
        self._coming += 1
        asyncio.get_running_loop().call_later(after_s, self._arrive, element)

    def _arrive(self, element: Element) -> None:
        self._coming -= 1
        self._bag.append(element)
        self._some.set()

    async def _walk(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._dice.uniform(0, COLLECTING_S))
            batch = self._take(self._dice.choice(SIZES))
            if not batch:
                continue
            self._in_hand += 1
            body = _body(batch)
            times = 1 if self._dice.random() > SAME_POST_AGAIN else self._dice.randint(2, 4)
            await asyncio.gather(*(self._insist(body) for _ in range(times)))
            for element in batch:
                self.kept[element.call_id].add(element.mark)
            self.elements += times * len(batch)
            self._in_hand -= 1

    def _take(self, most: int) -> list[Element]:
        """Draw elements from the bag in any order."""
        drawn: list[Element] = []
        while self._bag and len(drawn) < most:
            number = self._dice.randrange(len(self._bag))
            self._bag[number], self._bag[-1] = self._bag[-1], self._bag[number]
            drawn.append(self._bag.pop())
        if not self._bag:
            self._some.clear()
        return drawn

    async def _insist(self, body: bytes) -> None:
        while not await self._post(body):
            self.refused_posts += 1
            await asyncio.sleep(self._dice.uniform(*AGAIN_AFTER_S))
        self.posts += 1

    async def _post(self, body: bytes) -> bool:
        """Post once; return whether it was answered 200."""
        url = self._dice.choice(self._urls)
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(REPLY_WITHIN_S):
                reader, writer = await asyncio.open_connection(*events.host_and_port(url))
                try:
                    writer.write(events.signed_post(url, body))
                    return b" 200 " in await reader.readuntil(b"\r\n")
                finally:
                    writer.close()
        return False


def _body(batch: list[Element]) -> bytes:
    """Return a body with an entry per Page, as Meta batches."""
    by_page: dict[str, list[dict[str, Any]]] = {}
    for element in batch:
        by_page.setdefault(element.page, []).append(element.body)
    return events.envelope(by_page.items())


def _weighted(dice: random.Random, table: tuple[tuple[int, int], ...]) -> int:
    values, weights = zip(*table, strict=True)
    return int(dice.choices(values, weights)[0])
