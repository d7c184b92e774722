"""The desk as a test plays it: who is there, who takes the call, and what becomes of the talk."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from shared.attending import Agent, Parted, Place, Wish
from shared.handling import Sound


class PlayedDesk:
    """Where the call of a test waits and who talks to it."""

    def __init__(self) -> None:
        self.staffed = False
        self.ahead = 0
        """So many others wait before it."""
        self.queued: list[Wish] = []
        self.talking: Agent | None = None
        self.music: Sound | None = None
        self._waits = False
        self._takers: deque[str] = deque()
        self._parted: asyncio.Future[Parted] | None = None
        self._changed = asyncio.Event()
        self._talks = 0

    def open(self, *, staffed: bool) -> None:
        """Let somebody whom the call may wait for be there, or nobody."""
        self.staffed = staffed
        self._changed.set()

    def take(self, agent: str) -> None:
        """Let an agent take the call, now or as soon as it waits."""
        self._takers.append(agent)
        self.open(staffed=True)

    def part(self, parted: Parted) -> None:
        """Let the agent and the consumer part.

        Raises:
            AssertionError: they do not talk.
        """
        if self._parted is None or self._parted.done():
            raise AssertionError("no agent talks to the consumer")
        self._parted.set_result(parted)

    @property
    def position(self) -> int:
        """See `Place.position`."""
        return self.ahead + 1 if self._waits else 0

    async def agent(self, *, within_s: float | None = None) -> Agent | None:
        """See `Place.agent`."""
        try:
            async with asyncio.timeout(within_s):
                while not self._takers:
                    if not self.staffed:
                        return None
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        self._talks += 1
        return Agent(self._takers.popleft(), f"l_{self._talks}")

    @asynccontextmanager
    async def wait(self, wish: Wish) -> AsyncIterator[Place]:
        """See `Call.queue`."""
        self.queued.append(wish)
        self._waits = True
        try:
            yield self
        finally:
            self._waits = False

    async def talk(self, agent: Agent, music: Sound | None) -> Parted:
        """See `Call.talk`."""
        self.talking, self.music = agent, music
        self._parted = asyncio.get_running_loop().create_future()
        try:
            return await self._parted
        finally:
            self.talking = None


class AtTheDesk:
    """What a test does as the agents of the desk; its coroutines let time pass."""

    _desk: PlayedDesk

    async def staff(self, *, staffed: bool = True, ahead: int = 0) -> None:
        """Let somebody whom the call may wait for have the desk open, or nobody, and so many others wait before it."""
        self._desk.ahead = ahead
        self._desk.open(staffed=staffed)
        await self._pass(0)

    async def agent_takes(self, name: str = "ada") -> None:
        """Let an agent take the call, now or as soon as it waits, and talk to the consumer."""
        self._desk.take(name)
        await self._pass(0)

    async def agent_parts(
        self, how: Literal["hung_up", "transferred", "lost"] = "hung_up", *, queue: str = "", agent: str = ""
    ) -> None:
        """Let the agent hang up, transfer the call, or lose the connection."""
        self._desk.part(Parted(how, queue, agent))
        await self._pass(0)

    @property
    def queued(self) -> list[Wish]:
        """Return in which queues, and for whom, the call waited."""
        return self._desk.queued

    @property
    def talking(self) -> Agent | None:
        """Return the agent who talks to the consumer."""
        return self._desk.talking

    async def _pass(self, seconds: float) -> None:
        raise NotImplementedError
