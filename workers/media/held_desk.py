"""The handler's side of a call at the desk: every method runs on the handlers' loop and crosses over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shared.attending import Agent, Parted, Wish
from shared.handling import Sound
from workers.media.agents import Agents
from workers.media.held_passing import packets_of
from workers.media.host import Host

if TYPE_CHECKING:
    from workers.media.performer import Performer


class HeldPlace:
    """See `shared.attending.Place`."""

    def __init__(self, host: Host, agents: Agents) -> None:
        self._host = host
        self._agents = agents

    @property
    def position(self) -> int:
        """See `Place.position`."""
        return self._agents.position

    async def agent(self, *, within_s: float | None = None) -> Agent | None:
        """See `Place.agent`."""
        return await self._host.on_media_loop(self._agents.taken(within_s))


class HeldDesk:
    """What `shared.attending.Attended` asks of its holder."""

    performer: "Performer"
    _host: Host

    @asynccontextmanager
    async def queue(self, wish: Wish) -> AsyncIterator[HeldPlace]:
        """See `Call.queue`."""
        agents = self.performer.agents
        self.performer.sounding()
        await self._host.on_media_loop(agents.wait(wish))
        try:
            yield HeldPlace(self._host, agents)
        finally:
            self._host.soon_on_media_loop(agents.stop_waiting)

    async def talk(self, agent: Agent, music: Sound | None) -> Parted:
        """See `Call.talk`."""
        packets = () if music is None else await packets_of(music)
        return await self._host.on_media_loop(self._talk(agent, packets))

    async def _talk(self, agent: Agent, music: tuple[bytes, ...]) -> Parted:
        return await self.performer.agents.talk(self.performer.sounding(), agent, music)
