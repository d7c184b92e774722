"""Graph's front: takes every request, checks its token, plays the planned faults, and puts all on record."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from simulator.calls import Refused, now_ms
from simulator.faults import Fault, Faults
from simulator.graph.asked import Asked
from simulator.graph.errors import envelope, trace_id
from simulator.settings import Settings
from simulator.wire import cut_the_line, json_response

UNAUTHORIZED, BAD_REQUEST, NOT_FOUND = 401, 400, 404

Edge = Callable[[Asked], Awaitable[dict[str, Any]]]


class Graph:
    """Answers requests as Graph would, faults included, and remembers each.

    Edges are named by method and name, like `("POST", "calls")`.
    """

    def __init__(self, settings: Settings, faults: Faults, edges: Mapping[tuple[str, str], Edge]) -> None:
        self.requests: list[dict[str, Any]] = []
        self._settings = settings
        self._faults = faults
        self._edges = edges

    async def take(self, request: Request) -> Response:
        """Takes one request; what was asked and answered goes on record, also if the line is cut."""
        name = request.path_params["edge"]
        edge = self._edges.get((request.method, name))
        if edge is None:
            raise HTTPException(NOT_FOUND)
        asked = Asked(request.method, request.path_params["page"], request.query_params, await request.body())
        body = asked.peek()
        action = body.get("action") if name == "calls" else name
        record: dict[str, Any] = {
            "at_ms": now_ms(),
            "method": asked.method,
            "page": asked.page,
            "edge": name,
            "action": action,
            "call_id": body.get("call_id"),
            "body": _without_sdp(body),
            "status": None,
        }
        self.requests.append(record)
        response = await self._answer(request, edge, asked, str(action))
        record["status"] = response.status_code if response is not None else None
        record["took_ms"] = now_ms() - record["at_ms"]
        return response if response is not None else cut_the_line(request)

    async def _answer(self, request: Request, edge: Edge, asked: Asked, action: str) -> Response | None:
        """Returns the response, or None where a fault cuts the line."""
        last: Fault | None = None
        for fault in self._faults.take(action):
            if fault.kind == "latency":
                await asyncio.sleep(fault.latency_ms / 1000)
            else:
                last = fault
        match last:
            case Fault(kind="drop_before"):
                return None
            case Fault(kind="error", text=str(text)):
                return Response(text, last.status, media_type="text/html")
            case Fault(kind="error"):
                return json_response({"error": {"fbtrace_id": trace_id()} | last.error}, last.status)
            case Fault(kind="drop_after"):
                await self._do(request, edge, asked)
                return None
            case _:
                return await self._do(request, edge, asked)

    async def _do(self, request: Request, edge: Edge, asked: Asked) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = token or asked.params.get("access_token", "")
        if not token or (self._settings.tokens and token not in self._settings.tokens):
            return json_response(envelope(190, "Invalid OAuth access token."), UNAUTHORIZED)
        try:
            return json_response(await edge(asked))
        except Refused as refused:
            body = envelope(refused.code, refused.message, subcode=refused.subcode, errors_in=self._settings.errors_in)
            return json_response(body, BAD_REQUEST)


def _without_sdp(body: dict[str, Any]) -> dict[str, Any]:
    """Leaves descriptions out of the record: they are long, and of no use without their connection."""
    session = body.get("session")
    return body | {"session": session | {"sdp": "..."}} if isinstance(session, dict) and "sdp" in session else body
