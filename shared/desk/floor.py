"""Who has the desk open, which calls wait for them, and who talks to whom: in Redis, for all processes to agree.

Every step is one Lua script (`shared/lua/desk_*.lua`, keys in `desk.lua`), timed by the server's clock. An agent's page
has a seat for as long as it renews its lease. A call waits, and is talked in, only while the worker that said so owns
it; nobody renews that, since `beat` gives the calls of a dead worker to others.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from shared.bus import PREFIX, Bus, hash_of
from shared.entries import LogEntry, log_entry
from shared.wire import Argument, Reply, Script

NEWS: Final = f"{PREFIX}desk:news"
LEASE_MS: Final = 10_000
"""A page that is not heard of for so long has left the desk."""


class Seat(NamedTuple):
    """An agent who has the desk open."""

    agent: str
    ready: bool
    queues: tuple[str, ...]
    supervisor: bool


class Waiting(NamedTuple):
    """A call that waits for an agent; in the order in which they are served."""

    call: str
    queue: str
    agent: str
    """Whom alone it waits for; "" for any agent of the queue."""
    since_ms: int
    page: str
    caller: str
    """As agents see it: never the whole id."""


class Talk(NamedTuple):
    """A call that an agent has."""

    call: str
    agent: str
    leg: str
    queue: str
    since_ms: int
    page: str
    caller: str
    state: str
    """`connecting`, `live` or `held`; since when, `since_ms` says."""


class Look(NamedTuple):
    """Everything there is, as it was at a moment of the server's clock."""

    now_ms: int
    seats: tuple[Seat, ...]
    waiting: tuple[Waiting, ...]
    talks: tuple[Talk, ...]


class Taken(NamedTuple):
    """What came of taking a call: `taken`, `nobody` waits (there), `busy`, `forbidden`, or the seat is `gone`."""

    verdict: str
    call: str = ""
    queue: str = ""
    page: str = ""
    caller: str = ""


class Standing(NamedTuple):
    """How a waiting call stands."""

    position: int
    """In its queue, from 1; 0 where it does not wait: an agent has taken it, perhaps."""
    staffed: bool
    """Whether anybody it waits for has the desk open."""


class Floor:
    """The steps, on a bus. Every method raises `RedisAway` when the server did not confirm; repeating does no harm."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    # -- agents ------------------------------------------------------------------------------------------------

    async def enter(self, agent: str, conn: str, *, queues: Iterable[str], supervisor: bool) -> None:
        """Take the agent's seat for this connection; one that had it loses it."""
        role = "supervisor" if supervisor else "agent"
        await self._run(_script("desk_sit"), "enter", agent, conn, LEASE_MS, "", ",".join(queues), role)

    async def keep(self, agent: str, conn: str, *, ready: bool | None = None) -> str:
        """Renew the lease, and note whether the agent is ready. Return `kept`, `gone` or `elsewhere`."""
        said = "" if ready is None else str(int(ready))
        verdict: bytes = await self._run(_script("desk_sit"), "keep", agent, conn, LEASE_MS, said, "", "")
        return verdict.decode()

    async def leave(self, agent: str, conn: str) -> None:
        """Leave the seat, if it is this connection's; callers do not notice before its lease ends."""
        await self._run(_script("desk_sit"), "leave", agent, conn, 0, "", "", "")

    async def take(self, agent: str, conn: str, call_id: str | None, leg: str) -> Taken:
        """Take a call, or whoever has waited longest. Of all who try one has it, and its worker is told."""
        return Taken(*_texts(await self._run(_script("desk_take"), agent, conn, call_id or "", leg, "")))

    async def listen(self, agent: str, conn: str, call_id: str, leg: str) -> Taken:
        """Let a supervisor listen in."""
        return Taken(*_texts(await self._run(_script("desk_take"), agent, conn, call_id, leg, "1")))

    async def look(self) -> Look:
        """Return everything there is."""
        now_ms, seats, waiting, talks = await self._run(_script("desk_look"))
        return Look(
            int(now_ms),
            tuple(
                Seat(agent, ready == "1", tuple(queue for queue in queues.split(",") if queue), role == "supervisor")
                for agent, ready, queues, role in map(_texts, seats)
            ),
            tuple(
                Waiting(call, queue, agent, int(since), page, caller)
                for call, queue, agent, since, page, caller in map(_texts, waiting)
            ),
            tuple(
                Talk(call, agent, leg, queue, int(since), page, caller, state)
                for call, agent, leg, queue, since, page, caller, state in map(_texts, talks)
            ),
        )

    # -- calls, by the worker that has them --------------------------------------------------------------------

    async def wait(
        self,
        call_id: str,
        epoch: int,
        queue: str,
        *,
        agent: str = "",
        ahead: bool = False,
        page: str = "",
        caller: str = "",
        since_ms: int | None = None,
    ) -> int:
        """Let a call wait and return since when it does, ms on the server's clock; 0 where it is another worker's.

        Args:
            call_id: the call.
            epoch: the claim under which its worker has it.
            queue: whose agents may take it.
            agent: the only one who may.
            ahead: before all others of the queue.
            page: the Page that was called.
            caller: how agents see the consumer.
            since_ms: what this returned before, where it goes on waiting.
        """
        since = "" if since_ms is None else since_ms
        first = "1" if ahead else ""
        args = (call_id, epoch, queue, agent, first, page, caller, since, self._bus.retention_ms)
        return int(await self._run(_script("desk_wait"), *args))

    async def standing(self, call_id: str) -> Standing:
        """Return how a waiting call stands."""
        place, staffed = await self._run(_script("desk_stand"), call_id, "")
        return Standing(int(place), bool(staffed))

    async def withdraw(self, call_id: str) -> bool:
        """Let a call wait no longer; False where an agent has it already."""
        _place, taken = await self._run(_script("desk_stand"), call_id, "1")
        return not taken

    async def note(self, call_id: str, epoch: int, leg: str, state: str) -> None:
        """Say how an agent's talk stands: `live`, `held`, or "" where it is over."""
        await self._run(_script("desk_talk"), call_id, epoch, leg, state)

    # -- news --------------------------------------------------------------------------------------------------

    async def poke(self) -> None:
        """Let all who wait for news look: somebody wants to follow another call."""
        await self._bus.wire.call("XADD", NEWS, "MAXLEN", "~", 64, "*", "n", 1)

    async def news(self, after: str, calls: Mapping[str, int], *, within_s: float) -> "News":
        """Wait until something changes at the desk, or in the log of one of these calls after its entry.

        The connection waits meanwhile, so this wants a bus of its own.
        """
        streams = (NEWS, *(f"{PREFIX}log:{call_id}" for call_id in calls))
        marks = (after, *(f"{seq}-0" for seq in calls.values()))
        block_ms = int(within_s * 1000)
        reply = await self._bus.wire.call(
            "XREAD", "COUNT", 200, "BLOCK", block_ms, "STREAMS", *streams, *marks, timeout_s=within_s + 4
        )
        logs: dict[str, list[LogEntry]] = {}
        for key, entries in reply or ():
            name = key.decode()
            if name == NEWS:
                after = entries[-1][0].decode()
            else:
                logs[name.removeprefix(f"{PREFIX}log:")] = [log_entry(*entry) for entry in entries]
        return News(after, logs)

    async def _run(self, step: Script, *args: Argument) -> Reply:
        return await step.run(self._bus.wire, [hash_of("desk")], args)


class News(NamedTuple):
    """What `Floor.news` brings."""

    mark: str
    """Where the desk's news go on."""
    logs: dict[str, list[LogEntry]]


@functools.cache
def _script(name: str) -> Script:
    lua = files("shared") / "lua"
    return Script("".join((lua / f"{part}.lua").read_text() for part in ("prelude", "desk", name)))


def _texts(row: Sequence[bytes | None]) -> list[str]:
    return ["" if each is None else each.decode() for each in row]
