"""`/webhook`: Meta's events, checked, decoded and in Redis before the `200` leaves.

Plain ASGI, because this is the one path whose cost counts (docs/performance.md).
"""

import asyncio
import hmac
from collections.abc import Awaitable
from typing import Any, Final

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from shared import actions, log
from shared.bus import Bus, Routed
from shared.calls import facts
from shared.dead import Letter
from shared.errors import RedisAway
from shared.meta import signature, webhook
from shared.outbound import Outbound
from shared.page_notes import PageNotes
from shared.settings import Settings

MAX_BODY_BYTES: Final = 8 * 1024 * 1024

_POSTS = Counter("pageline_webhook_posts_total", "Webhook POSTs by how they were answered.", ["status"])
_EVENTS = Counter("pageline_webhook_events_total", "Call events by what became of them.", ["routed"])
_KINDS = Counter("pageline_webhook_kinds_total", "Call events by what they tell.", ["event"])
_OTHER_FIELDS = Counter("pageline_webhook_other_fields_total", "Webhook entries that are not calls.", ["field"])
_KNOWN_FIELDS: Final = frozenset({"messaging", "changes", "call_settings", "call_permission_reply", "standby"})

for _field in (*_KNOWN_FIELDS, "unknown"):
    _OTHER_FIELDS.labels(_field)  # there from the start, so that the first one is an increase

_OK = 200
_UNAUTHORIZED = 401
_TOO_LARGE = 413
_UNAVAILABLE = 503
_BODIES: Final = {
    _OK: b"",  # Meta asks for the status only, and a body is a second system call
    _UNAUTHORIZED: b"X-Hub-Signature-256 is missing or does not match META_APP_SECRET.",
    _TOO_LARGE: b"The body is larger than 8 MiB.",
    _UNAVAILABLE: b"Redis cannot be reached; nothing was kept. Send again.",
}
_HEADERS: Final = {
    status: [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    for status, body in _BODIES.items()
} | {_OK: [(b"content-length", b"0")]}
_ANSWERED: Final = {status: _POSTS.labels(status) for status in _BODIES}
_ROUTED: Final = {routed: _EVENTS.labels(routed) for routed in Routed}
_KIND_OF: Final[dict[type[facts.Fact], str]] = {
    facts.Arrived: "connect",
    facts.StatusChanged: "call_status",
    facts.MediaChanged: "media_update",
    facts.Terminated: "terminate",
    facts.PermissionReplied: "call_permission_reply",
    facts.Unrecognized: "unrecognized",
}
_TOLD: Final = {kind: _KINDS.labels(event) for kind, event in _KIND_OF.items()}


class _TooLarge(Exception):
    """More body than anybody signs."""


class Webhook:
    """The webhook endpoint: an ASGI application for POST, an ordinary endpoint for GET."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._notes = PageNotes(bus.wire)
        self._outbound = Outbound(bus)
        self._secrets = settings.app_secrets
        self._verify_token = settings.verify_token
        self._answer_window_ms = int(settings.accept_deadline_seconds * 1000)
        self._forward = bool(settings.webhook_forward_url)
        self._log = log.get()

    async def verify(self, request: Request) -> Response:
        """Answer Meta's verification handshake (webhooks "getting started", verification requests)."""
        asked = request.query_params
        token = asked.get("hub.verify_token", "").encode()
        if asked.get("hub.mode") != "subscribe" or not hmac.compare_digest(token, self._verify_token):
            return PlainTextResponse("hub.verify_token does not match META_VERIFY_TOKEN.", status_code=403)
        return PlainTextResponse(asked.get("hub.challenge", ""))

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one POST: 200 only once everything in it is in Redis."""
        signed: bytes | None = None
        length = 0
        for name, value in scope["headers"]:
            if name == signature.HEADER:
                signed = value
            elif name == b"content-length" and value.isdigit():
                length = int(value)
        try:
            body = await _read(receive, length)
        except _TooLarge:
            status = _TOO_LARGE
        else:
            status = await self.take(body, signed)
        _ANSWERED[status].inc()
        await send({"type": "http.response.start", "status": status, "headers": _HEADERS[status]})
        await send({"type": "http.response.body", "body": _BODIES[status]})

    async def take(self, body: bytes, signed: bytes | None) -> int:
        """Check, decode and store one body; return the HTTP status to answer with."""
        if not signature.is_signed(self._secrets, body, signed):
            self._log.warning("webhook.refused", because="no valid X-Hub-Signature-256", size_bytes=len(body))
            return _UNAUTHORIZED
        received = webhook.read(body, now_ms=self._bus.now_ms(), answer_window_ms=self._answer_window_ms)
        try:
            await self._store(received, body, signed or b"")
        except RedisAway as error:
            self._log.error("webhook.not_kept", because=str(error))
            return _UNAVAILABLE
        return _OK

    async def _store(self, received: webhook.Received, body: bytes, signed: bytes) -> None:
        steps: list[Awaitable[Any]] = [self._keep(event) for event in received.events]
        steps += [
            self._bus.bury(Letter(why="webhook_unreadable", body=odd.alone, detail=odd.why[:500]))
            for odd in received.unreadable
        ]
        steps += [self._notes.report(told.page, told.settings, sent_ms=told.sent_ms) for told in received.settings]
        steps += [
            self._outbound.permission_replied(reply.page, reply.consumer, reply.fact) for reply in received.replies
        ]
        _TOLD[facts.PermissionReplied].inc(len(received.replies))
        for field in received.other_fields:
            _OTHER_FIELDS.labels(field if field in _KNOWN_FIELDS else "unknown").inc()
        if received.other_fields and self._forward:
            steps.append(actions.forward(self._bus, body, signed))
        if len(steps) == 1:  # nearly always
            await steps[0]
        else:
            await asyncio.gather(*steps)

    async def _keep(self, event: webhook.CallEvent) -> None:
        routed = await self._bus.route(event.call_id, event.fact, identity=event.identity)
        _ROUTED[routed].inc()
        _TOLD[type(event.fact)].inc()


async def _read(receive: Receive, length: int) -> bytes:
    if length > MAX_BODY_BYTES:
        raise _TooLarge
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _TooLarge
        chunks.append(chunk)
    return b"".join(chunks)
