"""Agents of the desk as a test plays them: nobody, one, or a whole row, each with what becomes of the talk."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.attending import Agent, Parted, Place, Wish
from shared.handling import Sound


class Queue:
    """Where the call of a test waits, and who is at the desk."""

    def __init__(self) -> None:
        self.staffed = False
        """Whether anybody whom it waits for has the desk open."""
        self.ahead = 0
        """So many others wait before it."""
        self.wish: Wish | None = None
        """What it waits for, now or last."""
        self.waits = False
        self.talking: Agent | None = None
        self.queued: list[Wish] = []
        self.music: Sound | None = None
        self._taken: deque[str] = deque()
        self._parted: asyncio.Future[Parted] | None = None
        self._changed = asyncio.Event()
        self._talks = 0

    def open(self, *, staffed: bool) -> None:
        """Let somebody be at the desk, or nobody."""
        self.staffed = staffed
        self._changed.set()

    def take(self, agent: str) -> None:
        """Let an agent take the call, now or as soon as it waits."""
        self.staffed = True
        self._taken.append(agent)
        self._changed.set()

    def part(self, parted: Parted) -> None:
        """Let the agent and the consumer part."""
        if self._parted is None or self._parted.done():
            raise AssertionError("no agent talks to the consumer")
        self._parted.set_result(parted)

    @property
    def position(self) -> int:
        """See `Place.position`."""
        return self.ahead + 1 if self.waits else 0

    async def agent(self, *, within_s: float | None = None) -> Agent | None:
        """See `Place.agent`."""
        try:
            async with asyncio.timeout(within_s):
                while not self._taken:
                    if not self.staffed:
                        return None
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        self._talks += 1
        return Agent(self._taken.popleft(), f"l_{self._talks}")

    @asynccontextmanager
    async def wait(self, wish: Wish) -> AsyncIterator[Place]:
        """See `Call.queue`."""
        self.wish, self.waits = wish, True
        self.queued.append(wish)
        try:
            yield self
        finally:
            self.waits = False

    async def talk(self, agent: Agent, music: Sound | None) -> Parted:
        """See `Call.talk`."""
        self.talking, self.music = agent, music
        self._parted = asyncio.get_running_loop().create_future()
        try:
            return await self._parted
        finally:
            self.talking = None
