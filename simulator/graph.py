"""Graph's `/{version}/{page}/calls`: documented requests, answers and error envelopes, every request on record."""

import asyncio
import secrets
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from simulator.calls import Call, Refused, Switchboard, now_ms
from simulator.faults import Fault, Faults
from simulator.settings import AnswerShape, Settings
from simulator.wire import cut_the_line, json_response

FIRST_CALLING_CODE, LAST_CALLING_CODE = 2018389, 2018396
UNAUTHORIZED, BAD_REQUEST = 401, 400


class Session(msgspec.Struct):
    """The `session` of a request."""

    sdp_type: str
    sdp: str


class Action(msgspec.Struct):
    """The body of `POST /{page}/calls` (reference, section 4.2), as far as it is understood here."""

    action: str
    platform: str = "messenger"
    call_id: str | None = None
    session: Session | None = None


def envelope(code: int, message: str, *, errors_in: str = "code", **more: Any) -> dict[str, Any]:
    """Builds Graph's error body; calling codes sit where the setting says, with 100 before a subcode."""
    error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, "is_transient": False}
    if errors_in == "error_subcode" and FIRST_CALLING_CODE <= code <= LAST_CALLING_CODE:
        error |= {"message": "Invalid parameter", "code": 100, "error_subcode": code, "error_user_title": message}
    return {"error": error | more | {"fbtrace_id": trace_id()}}


def trace_id() -> str:
    """Makes what Graph puts under every error."""
    return "A" + secrets.token_urlsafe(16)


def granted(shape: AnswerShape, call_id: str, answer: str, renegotiation: str) -> dict[str, Any]:
    """Builds the answer to `accept` in one of the documented shapes (section 4.3)."""
    if shape == "strings":
        return {"success": True, "session": {"sdp_response": answer, "sdp_renegotiation": renegotiation}}
    session = {"sdp_response": {"sdp_type": "answer", "sdp": answer}}
    if shape == "answer-only":
        return {"success": True, "session": session}
    session["sdp_renegotiation"] = {"sdp_type": "offer", "sdp": renegotiation}
    return {"success": True, "call_id": call_id, "session": session}


class Graph:
    """Answers requests as Graph would, faults included, and remembers each."""

    def __init__(self, settings: Settings, switchboard: Switchboard, faults: Faults) -> None:
        self.requests: list[dict[str, Any]] = []
        self._settings = settings
        self._switchboard = switchboard
        self._faults = faults

    async def post_calls(self, request: Request) -> Response:
        """Takes one action; what was asked and answered goes on record, also if the line is cut."""
        record: dict[str, Any] = {
            "at_ms": now_ms(),
            "page": request.path_params["page"],
            "action": None,
            "call_id": None,
        }
        self.requests.append(record | {"status": None})
        record = self.requests[-1]
        raw = await request.body()
        try:
            asked: Action | None = msgspec.json.decode(raw, type=Action)
        except (msgspec.DecodeError, UnicodeDecodeError):
            asked = None
        if asked is not None:
            record |= {"action": asked.action, "call_id": asked.call_id}
        response = await self._answer(request, asked)
        record["status"] = response.status_code if response is not None else None
        record["took_ms"] = now_ms() - record["at_ms"]
        return response if response is not None else cut_the_line(request)

    async def _answer(self, request: Request, asked: Action | None) -> Response | None:
        """Returns the response, or None where a fault cuts the line."""
        last: Fault | None = None
        for fault in self._faults.take(asked.action if asked else ""):
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
                await self._do(request, asked)
                return None
            case _:
                return await self._do(request, asked)

    async def _do(self, request: Request, asked: Action | None) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = token or request.query_params.get("access_token", "")
        if not token or (self._settings.tokens and token not in self._settings.tokens):
            return json_response(envelope(190, "Invalid OAuth access token."), UNAUTHORIZED)
        try:
            return json_response(await self._act(request.path_params["page"], asked))
        except Refused as refused:
            body = envelope(refused.code, refused.message, errors_in=self._settings.errors_in)
            return json_response(body, BAD_REQUEST)

    async def _act(self, page: str, asked: Action | None) -> dict[str, Any]:
        match asked:
            case None:
                raise Refused(100, "Invalid parameter: the body must be JSON with an action")
            case Action(platform=platform) if platform != "messenger":
                raise Refused(100, "Invalid parameter: platform must be messenger")
            case Action(action="accept", session=session):
                call = self._call(page, asked.call_id)
                if session is None or not session.sdp:
                    raise Refused(2018391, "Invalid connection parameter")
                if session.sdp_type != "offer":
                    raise Refused(2018392, "Invalid SDP parameter: sdp_type must be offer")
                answer, renegotiation = await self._switchboard.accept(call, session.sdp)
                return granted(call.answer_shape, call.id, answer, renegotiation)
            case Action(action="reject"):
                self._switchboard.reject(self._call(page, asked.call_id))
            case Action(action="terminate"):
                self._switchboard.terminate(self._call(page, asked.call_id))
            case Action(action="connect" | "media_update" as action):
                raise Refused(100, f"Unsupported: this simulator does not do {action} yet")
            case _:
                raise Refused(
                    100, "Invalid parameter: action must be one of accept, connect, media_update, reject, terminate"
                )
        return {"success": True}

    def _call(self, page: str, call_id: str | None) -> Call:
        call = self._switchboard.calls.get(call_id or "")
        if call is None:
            raise Refused(2018390, "Invalid call id")
        if call.page != page:
            raise Refused(2018393, "Invalid call participant page")
        return call
