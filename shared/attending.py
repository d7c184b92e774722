"""What a handler does with agents of the desk: let a call wait in a queue, and let an agent talk to the consumer."""

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from shared.handling import Sound


class Agent(NamedTuple):
    """An agent who has taken the call."""

    name: str
    leg: str
    """Of the connection to the agent's browser; no two talks have the same."""


class Parted(NamedTuple):
    """Why an agent and a consumer talk no longer."""

    how: Literal["hung_up", "transferred", "lost"]
    """`lost`: the agent's connection broke, or could not be used any more."""
    queue: str = ""
    """Where the call was transferred to; "" where to an `agent`."""
    agent: str = ""


class Wish(NamedTuple):
    """Who is to take a call: an agent of the queue, or that one; before all others if `ahead`."""

    queue: str
    agent: str = ""
    ahead: bool = False


class Place(Protocol):
    """A call's place in a queue."""

    @property
    def position(self) -> int:
        """How many wait that come before it, and itself; 0 where it is not known yet, or an agent has taken it."""

    def agent(self, *, within_s: float | None = None) -> Awaitable[Agent | None]:
        """Wait until an agent has taken the call and both could speak.

        None where nobody has taken it within so many seconds, or no agent whom it waits for has the desk open.
        """


class AttendedHolder(Protocol):
    """What these verbs of a `Call` need of the worker that holds it; called on the handler's event loop."""

    def queue(self, wish: "Wish") -> AbstractAsyncContextManager[Place]: ...
    def talk(self, agent: Agent, music: "Sound | None") -> Awaitable[Parted]: ...


class Attended:
    """The verbs of a `Call` that have to do with agents."""

    holder: AttendedHolder

    def queue(self, name: str, *, agent: str = "", ahead: bool = False) -> AbstractAsyncContextManager[Place]:
        """Let the call wait for an agent while the returned context is open.

        Args:
            name: the queue whose agents may take it.
            agent: the only one who may.
            ahead: before all others of the queue.
        """
        return self.holder.queue(Wish(name, agent, ahead))

    async def talk(self, agent: Agent, *, music: "Sound | None" = None) -> Parted:
        """Let an agent and the consumer hear each other, undecoded, until one of them leaves, and return why.

        The agent may put the consumer on hold, who then hears the music, over and over. A supervisor may listen in.

        Raises:
            FileNotFoundError, ValueError: the music is missing or no sound.
        """
        return await self.holder.talk(agent, music)
