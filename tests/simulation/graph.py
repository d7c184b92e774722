"""Graph as the action worker meets it: the way to Meta and back, with everything that can go wrong on it."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.meta.graph import read_reply
from tests.simulation.meta import Meta
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import VirtualLoop
from workers.action.graph import REPLY_TIMEOUT_S, Graph
from workers.action.verdict import Attempt, Sent

TRANSIENT = b'{"error":{"message":"An unexpected error has occurred.","code":2,"is_transient":true}}'
THROTTLED = b'{"error":{"message":"(#80001) There have been too many calls to this Page account.","code":80001}}'
GATEWAY = b"<html>bad gateway</html>"


@dataclass
class Temper:
    """How often Graph, or the way to it, fails; rates per request."""

    refused: float = 0.0
    lost_request: float = 0.0
    lost_reply: float = 0.0
    broken: float = 0.0
    broken_after_acting: float = 0.0
    transient: float = 0.0
    throttled: float = 0.0
    slow: float = 0.0


@dataclass(frozen=True)
class Request:
    """One request as its sender saw it."""

    call_id: str
    action: str
    offer: str | None
    sent_s: float
    sender: object
    version: int | None = None
    """Of the media, from which a change is made."""


class SimGraph(Graph):
    """See `Graph`; the callbacks are told what is sent, what arrived, and what the sender concluded."""

    def __init__(
        self,
        loop: VirtualLoop,
        meta: Meta,
        temper: Temper,
        chance: random.Random,
        trace: Trace,
        *,
        on_request: Callable[[Request], None],
        on_arrival: Callable[[], None],
        on_attempt: Callable[[Request, Attempt], None],
    ) -> None:
        self._loop = loop
        self._meta = meta
        self._temper = temper
        self._chance = chance
        self._trace = trace
        self._on_request = on_request
        self._on_arrival = on_arrival
        self._on_attempt = on_attempt

    async def request(
        self,
        method: str,
        page: str,
        edge: str,
        token: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Attempt:
        """See `Graph.request`."""
        said = json.loads(body or b"{}")
        action, call_id, offer = said["action"], said["call_id"], said.get("session", {}).get("sdp")
        request = Request(call_id, action, offer, self._loop.time(), self._trace.who(), said.get("from_version"))
        self._on_request(request)
        attempt = await self._attempt(request)
        error = attempt.error
        told = f"error {error.code}/{error.error_subcode} {error.message}" if error else attempt.trouble
        self._trace.note(f"graph {action} {call_id} -> {attempt.sent} {attempt.status} {told}")
        self._on_attempt(request, attempt)
        return attempt

    async def _attempt(self, request: Request) -> Attempt:
        temper, chance = self._temper, self._chance
        if chance.random() < temper.refused:
            await asyncio.sleep(chance.uniform(0.001, 2.0))
            return Attempt(Sent.NEVER, trouble="no connection: simulated")
        reply: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        if chance.random() >= temper.lost_request:
            self._later(self._delay_s(), self._reach, request, reply)
        try:
            async with asyncio.timeout(chance.choice((0.2, REPLY_TIMEOUT_S)) if temper.lost_reply else REPLY_TIMEOUT_S):
                status, body = await reply
        except TimeoutError:
            return Attempt(Sent.MAYBE, trouble="no reply: simulated")
        took_ms = int((self._loop.time() - request.sent_s) * 1000)
        return Attempt(Sent.REPLIED, status=status, reply=read_reply(body), took_ms=took_ms)

    def _reach(self, request: Request, reply: "asyncio.Future[tuple[int, bytes]]") -> None:
        """Be at Graph with a request, whoever still waits for its reply."""
        temper, chance = self._temper, self._chance
        if chance.random() < temper.broken:
            answer = (502, GATEWAY)
        elif chance.random() < temper.transient:
            answer = (500, TRANSIENT)
        elif chance.random() < temper.throttled:
            answer = (400, THROTTLED)
        else:
            answer = self._meta.act(request.action, request.call_id, request.offer, request.version)
            self._trace.note(f"{request.action} {request.call_id}: {answer[0]}", who="meta")
            if chance.random() < temper.broken_after_acting:
                answer = (502, GATEWAY)
        self._on_arrival()
        if chance.random() >= temper.lost_reply:
            self._later(self._delay_s(), _settle, reply, answer)

    def _delay_s(self) -> float:
        if self._chance.random() < self._temper.slow:
            return self._chance.uniform(0.5, 8.0)
        return self._chance.uniform(0.02, 0.2)

    def _later(self, after_s: float, do: Callable[..., None], *args: object) -> None:
        self._loop.call_later(after_s, do, *args, context=self._loop.outside.context)


def _settle(reply: "asyncio.Future[tuple[int, bytes]]", answer: tuple[int, bytes]) -> None:
    if not reply.done():
        reply.set_result(answer)
