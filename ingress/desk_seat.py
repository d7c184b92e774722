"""One agent's page, connected by its WebSocket: what it asks for, and what it is told."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from ingress import desk_messages as said
from ingress.desk_following import Following
from ingress.desk_hub import Hub
from shared import log
from shared.calls import agent_facts
from shared.desk.accounts import Account
from shared.desk.floor import Look, Taken, Talk
from shared.entries import LogEntry
from shared.errors import RedisAway
from shared.ice_servers import IceServer

SESSION_OVER: Final = 4401
ELSEWHERE: Final = 4409
AGAIN_LATER: Final = 1013
KEEP_EVERY_S: Final = 3.0

_log = log.get()


class SeatHeld:
    """An agent's page."""

    def __init__(
        self, socket: WebSocket, account: Account, hub: Hub, session: Callable[[], Awaitable[Account | None]]
    ) -> None:
        self._socket = socket
        self._account = account
        self._hub = hub
        self._session = session
        self._conn = uuid.uuid4().hex
        self._out: asyncio.Queue[dict[str, Any] | int] = asyncio.Queue()
        """Messages, and the code to close with."""
        self._on: Following | None = None
        self._left: set[str] = set()
        """Legs that are over: the desk may show them for a moment longer."""
        self._shown: dict[str, Any] = {}
        self._ready = False

    async def serve(self) -> None:
        """Serve until the page goes, or has to."""
        name = self._account.name
        try:
            await self._enter()
            self._out.put_nowait(self._welcome())
            self._hub.enter(self)
            await self._hub.look()
        except RedisAway:
            await self._socket.close(code=AGAIN_LATER)
            return
        tasks = [asyncio.create_task(step) for step in (self._hear(), self._tell(), self._keep())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(self)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    _log.error("desk.failed", agent=name, exc_info=error)
            with contextlib.suppress(RedisAway):
                await self._hub.floor.leave(name, self._conn)

    async def _enter(self) -> None:
        account = self._account
        await self._hub.floor.enter(account.name, self._conn, queues=account.queues, supervisor=account.supervisor)

    # -- what the hub brings -----------------------------------------------------------------------------------

    @property
    def following(self) -> tuple[str, int] | None:
        """Return the call whose log is to be read, and how far it was."""
        return None if self._on is None else (self._on.call, self._on.seq)

    def read(self, call_id: str, entries: list[LogEntry]) -> None:
        """Take what was added to a call's log."""
        if self._on is None or self._on.call != call_id:
            return
        for message in self._on.read(entries):
            self._out.put_nowait(message)
        if self._on.over:
            self._left.add(self._on.leg)
            self._on = None

    def show(self, look: Look) -> None:
        """Show the desk, where it has changed."""
        mine = next((talk for talk in look.talks if talk.agent == self._account.name), None)
        if mine is not None and mine.leg in self._left:
            mine = None
        if mine is not None and self._on is None:  # begun over a connection before this one
            self._on = Following(mine.call, mine.leg, queue=mine.queue, page=mine.page, caller=mine.caller)
            self._out.put_nowait({**self._on.message(), "state": mine.state, "since_ms": mine.since_ms})
        shown = self._desk(look, mine)
        if shown != self._shown:
            self._shown = shown
            self._out.put_nowait({**shown, "now_ms": look.now_ms})

    def _desk(self, look: Look, mine: Talk | None) -> dict[str, Any]:
        account = self._account
        talking = {talk.agent for talk in look.talks}
        ready = any(seat.ready for seat in look.seats if seat.agent == account.name)
        waiting = [
            each
            for each in look.waiting
            if account.supervisor or (each.agent == account.name if each.agent else each.queue in account.queues)
        ]
        waiting.sort(key=lambda each: each.agent != account.name)
        queues = {*account.queues, *(queue for seat in look.seats for queue in seat.queues)}
        return {
            "type": "desk",
            "me": {"state": _state(ready, mine is not None)},
            "waiting": [
                {"call": each.call, "queue": each.queue, "caller": each.caller, "page": each.page}
                | {"since_ms": each.since_ms, "for": each.agent or None}
                for each in waiting
            ],
            "agents": [
                {"name": seat.agent, "state": _state(seat.ready, seat.agent in talking), "queues": seat.queues}
                for seat in look.seats
            ],
            "calls": [
                {"call": talk.call, "queue": talk.queue, "caller": talk.caller, "agent": talk.agent}
                | {"since_ms": talk.since_ms, "state": talk.state}
                for talk in look.talks
                if account.supervisor or talk.agent == account.name
            ],
            "queues": sorted(queues),
        }

    def _welcome(self) -> dict[str, Any]:
        account = self._account
        role = "supervisor" if account.supervisor else "agent"
        return {
            "type": "welcome",
            "agent": {"name": account.name, "role": role, "queues": account.queues},
            "ice_servers": [_ice(server) for server in self._hub.settings.known_ice_servers],
        }

    # -- chores ------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                text = await self._socket.receive_text()
                try:
                    message = said.decode(text)
                except msgspec.DecodeError as error:
                    self._refuse("message", f"The desk did not understand its page: {error}.", "Reload the page.")
                    continue
                try:
                    await self._do(message)
                except RedisAway:
                    about = str(message.__struct_config__.tag)
                    self._refuse(about, "Redis does not answer.", "Try again in a moment.")

    async def _tell(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the latter where it was closed under us
            while True:
                message = await self._out.get()
                if isinstance(message, int):
                    await self._socket.close(code=message)
                    return
                await self._socket.send_text(msgspec.json.encode(message).decode())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            with contextlib.suppress(RedisAway):
                verdict = await self._hub.floor.keep(self._account.name, self._conn)
                if verdict == "elsewhere":
                    self._out.put_nowait(ELSEWHERE)
                    await asyncio.Event().wait()
                elif self._on is None and await self._session() is None:
                    self._out.put_nowait(SESSION_OVER)
                    await asyncio.Event().wait()
                elif verdict == "gone":  # this process stood still for longer than the lease
                    await self._enter()
                    await self._hub.floor.keep(self._account.name, self._conn, ready=self._ready)

    # -- what the page asks for --------------------------------------------------------------------------------

    async def _do(self, message: said.Message) -> None:
        name = self._account.name
        match message:
            case said.Ready(ready=ready):
                self._ready = ready
                await self._hub.floor.keep(name, self._conn, ready=ready)
            case said.Take(call=call):
                leg = f"l_{uuid.uuid4().hex}"
                if self._is_free("take", call or ""):
                    await self._follow("take", call, leg, await self._hub.floor.take(name, self._conn, call, leg))
            case said.Listen(call=call):
                leg = f"l_{uuid.uuid4().hex}"
                if self._is_free("listen"):
                    await self._follow("listen", call, leg, await self._hub.floor.listen(name, self._conn, call, leg))
            case said.Note(call=call, text=text):
                await self._note(call, text)
            case _:
                await self._ask(message)

    async def _ask(self, message: said.Message) -> None:
        """Ask something of the call that the agent is on."""
        on, about = self._on, str(message.__struct_config__.tag)
        if on is None:
            self._refuse(about, "You are on no call.", "")
            return
        fact: agent_facts.Attended
        match message:
            case said.Answer(leg=leg, sdp=sdp):
                if leg != on.leg:
                    return
                fact = agent_facts.AgentAnswered(leg=leg, sdp=sdp)
            case said.Hold(on=hold):
                fact = agent_facts.HoldAsked(leg=on.leg, on=hold)
            case said.Transfer(to=to) if (to.queue is None) != (to.agent is None) and to.agent != self._account.name:
                fact = agent_facts.TransferAsked(leg=on.leg, queue=to.queue or "", agent=to.agent or "")
            case said.HangUp() | said.Leave():
                fact = agent_facts.PartingAsked(leg=on.leg, because="left" if on.listening else "hung_up")
            case _:
                self._refuse(about, "This cannot be done.", "Choose a queue or a colleague.")
                return
        await self._hub.bus.route(on.call, fact)

    async def _follow(self, about: str, wanted: str | None, leg: str, taken: Taken) -> None:
        match taken.verdict:
            case "taken" if self._on is None or self._on.leg != leg:  # a look at the desk may have come first
                known = {"queue": taken.queue, "page": taken.page, "caller": taken.caller}
                self._on = Following(taken.call, leg, **known, listening=about == "listen")
                self._out.put_nowait(self._on.message())
                await self._hub.floor.poke()
            case "taken":
                pass
            case "nobody" if wanted is not None and about == "take":
                ended = {"type": "call", "call": wanted, "leg": leg, "state": "ended", "because": "taken"}
                self._out.put_nowait(ended | {"since_ms": self._hub.bus.now_ms(), "listening": False})
            case "nobody":
                nobody = "Nobody is waiting." if about == "take" else "Nobody talks on this call any more."
                self._refuse(about, nobody, "")
            case "forbidden":
                self._refuse(about, "This call is not for you.", "Ask for its queue, or for the role of a supervisor.")
            case "busy":
                self._refuse(about, "You are on a call.", "End it first.")
            case _:
                self._refuse(about, "Your place at the desk was lost.", "Reload the page.")

    async def _note(self, call_id: str, text: str) -> None:
        mine = (
            isinstance(entry.fact, agent_facts.AgentAsked) and entry.fact.agent == self._account.name
            for entry in await self._hub.bus.read_log(call_id)
        )
        if not any(mine):
            self._refuse("note", "You were not on this call.", "")
            return
        await self._hub.bus.route(call_id, agent_facts.NoteWritten(agent=self._account.name, text=text))
        self._out.put_nowait({"type": "noted", "call": call_id})

    def _is_free(self, about: str, wanted: str = "") -> bool:
        """Refuse a second call; the agent's own may be taken anew, by a page that has lost its leg."""
        free = self._on is None or (self._on.call == wanted and not self._on.listening)
        if not free:
            self._refuse(about, "You are on a call.", "End it first.")
        return free

    def _refuse(self, about: str, message: str, remedy: str) -> None:
        self._out.put_nowait({"type": "error", "about": about, "message": message, "remedy": remedy})


def _state(ready: bool, talking: bool) -> str:
    if talking:
        return "talking"
    return "ready" if ready else "away"


def _ice(server: IceServer) -> dict[str, Any]:
    known: dict[str, Any] = {"urls": [str(server)]}
    return known | ({"username": server.username, "credential": server.password} if server.relays else {})
