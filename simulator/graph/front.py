"""Graph's front: takes every request, checks its token, plays the planned faults, and puts all on record."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from simulator.calls import Refused, now_ms
from simulator.chaos import TOKEN_BACK_S, Chaos
from simulator.faults import Fault, Faults
from simulator.graph.asked import Asked
from simulator.graph.errors import envelope, trace_id
from simulator.settings import Settings
from simulator.tokens import Tokens
from simulator.wire import cut_the_line, json_response

NOT_FOUND = 404

Edge = Callable[[Asked], Awaitable[dict[str, Any]]]


class Usage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How much of the rate limits is used, in percent (section 10.5)."""

    call_count: int = 0
    total_time: int = 0
    total_cputime: int = 0
    estimated_time_to_regain_access: int = 0
    """In minutes."""

    def headers(self, page: str) -> dict[str, str]:
        """Returns the headers that say so."""
        app = {"call_count": self.call_count, "total_time": self.total_time, "total_cputime": self.total_cputime}
        business = {"type": "messenger"} | msgspec.to_builtins(self)
        return {
            "X-App-Usage": msgspec.json.encode(app).decode(),
            "X-Business-Use-Case-Usage": msgspec.json.encode({page: [business]}).decode(),
        }


class Graph:
    """Answers requests as Graph would, faults included, and remembers each.

    Edges are named by method and name, like `("POST", "calls")`.
    """

    def __init__(
        self,
        settings: Settings,
        faults: Faults,
        chaos: Chaos,
        tokens: Tokens,
        edges: Mapping[tuple[str, str], Edge],
    ) -> None:
        self._chaos = chaos
        self.requests: list[dict[str, Any]] = []
        percent = settings.usage_percent
        self.usage = Usage(call_count=percent) if percent is not None else None
        """What every response says of the rate limits; None: nothing."""
        self._tokens = tokens
        self._settings = settings
        self._faults = faults
        self._edges = edges

    async def take(self, request: Request) -> Response:
        """Takes one request; what was asked and answered goes on record, also if the line is cut."""
        page = request.path_params["page"]
        name = request.path_params.get("edge", "" if page.isdecimal() else page)
        edge = self._edges.get((request.method, name))
        if edge is None or not (page.isdecimal() or name == page):
            raise HTTPException(NOT_FOUND)
        asked = Asked(request.method, page, name, request.query_params, await request.body())
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
        if response is None:
            return cut_the_line(request)
        response.headers["x-fb-trace-id"] = trace_id()
        if self.usage is not None:
            response.headers.update(self.usage.headers(asked.page))
        return response

    async def _answer(self, request: Request, edge: Edge, asked: Asked, action: str) -> Response | None:
        """Returns the response, or None where a fault cuts the line."""
        last: Fault | None = None
        for fault in self._faults.take(action):
            if fault.kind == "latency":
                await asyncio.sleep(fault.latency_ms / 1000)
            else:
                last = fault
        last = last or self._chaos.fault(action)
        match last:
            case Fault(kind="drop_before"):
                return None
            case Fault(kind="error", text=str(text)):
                return Response(text, last.status, last.headers, media_type="text/html")
            case Fault(kind="error"):
                return json_response({"error": {"fbtrace_id": trace_id()} | last.error}, last.status, last.headers)
            case Fault(kind="drop_after"):
                await self._do(request, edge, asked)
                return None
            case _:
                return await self._do(request, edge, asked)

    async def _do(self, request: Request, edge: Edge, asked: Asked) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = token or asked.params.get("access_token", "")
        if self._chaos.token_expires(asked.edge):
            self._tokens.set(token, valid=False)
            asyncio.get_running_loop().call_later(TOKEN_BACK_S, lambda: self._tokens.set(token, valid=True))
        try:
            self._tokens.check(token, asked.params.get("appsecret_proof"))
            return json_response(await edge(asked))
        except Refused as refused:
            body = envelope(refused.code, refused.message, subcode=refused.subcode, errors_in=self._settings.errors_in)
            return json_response(body, refused.status)


def _without_sdp(body: dict[str, Any]) -> dict[str, Any]:
    """Leaves descriptions out of the record: they are long, and of no use without their connection."""
    session = body.get("session")
    return body | {"session": session | {"sdp": "..."}} if isinstance(session, dict) and "sdp" in session else body
