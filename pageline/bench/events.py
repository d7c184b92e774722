"""Signed webhooks as Meta posts them, ready to be written to a socket."""

import hmac
import json
import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

PAGE: Final = "106378625516323"
SECRET: Final = "bench-app-secret"  # noqa: S105 - it signs what we send to ourselves
BODY_BYTES: Final = 473


def connect(call_id: str, *, page: str = PAGE) -> dict[str, Any]:
    """Return the element of a consumer who rings now."""
    caller = {"to": page, "from": "5275811702471834"}
    return {"id": call_id, **caller, "event": "connect", "timestamp": _now(), "call_direction": "user_initiated"}


def call_status(call_id: str, status: str) -> dict[str, Any]:
    """Return the element of a call we placed that now rings, or was accepted."""
    return {"id": call_id, "event": "call_status", "timestamp": _now(), "call_status": status}


def media_update(call_id: str, version: int, sdp: str) -> dict[str, Any]:
    """Return the element of a consumer whose media change."""
    session = {"version": version, "sdp_type": "offer", "sdp_renegotiation": sdp}
    return {"id": call_id, "event": "media_update", "timestamp": _now(), "session": session}


def terminate(call_id: str, status: str = "Completed") -> dict[str, Any]:
    """Return the element of a call that is over."""
    span = {"start_time": _now() - 120, "end_time": _now(), "duration": 120}
    return {"id": call_id, "event": "terminate", "timestamp": _now(), "status": status, **span}


def host_and_port(url: str) -> tuple[str, int]:
    """Return where the server of this URL listens."""
    where = urlsplit(url)
    return where.hostname or "127.0.0.1", where.port or 80


def request(url: str, element: dict[str, Any], *, body_bytes: int = 0) -> bytes:
    """Return the bytes of a signed POST with one element, filled up to this many bytes of body."""
    body = envelope([(PAGE, [element])])
    if body_bytes:
        filled = {**element, "biz_opaque_callback_data": ""}
        missing_bytes = body_bytes - len(envelope([(PAGE, [filled])]))
        body = envelope([(PAGE, [{**filled, "biz_opaque_callback_data": "x" * missing_bytes}])])
    return signed_post(url, body)


def signed_post(url: str, body: bytes) -> bytes:
    """Return the bytes of a signed POST with this body."""
    where = urlsplit(url)
    signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
    head = (
        f"POST {where.path} HTTP/1.1\r\nhost: {where.netloc}\r\nuser-agent: facebookexternalua\r\naccept: */*\r\n"
        f"content-type: application/json\r\nx-hub-signature-256: sha256={signature}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def envelope(entries: Iterable[tuple[str, list[dict[str, Any]]]]) -> bytes:
    """Return a body with these elements, Page by Page."""
    entry = [{"id": page, "time": _now(), "calls": elements} for page, elements in entries]
    return json.dumps({"object": "page", "entry": entry}, separators=(",", ":")).encode()


def _now() -> int:
    return int(time.time())
