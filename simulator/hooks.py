"""Webhooks as Meta sends them: the documented bodies, signed, and sent again until they are taken."""

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from simulator.settings import Settings

log = structlog.get_logger("simulator")

Event = dict[str, Any]


def connect(call_id: str, *, page: str, psid: str, at_s: float) -> Event:
    """Builds the event that says that a person calls the Page (reference, section 3.1): there is no SDP in it."""
    return {
        "id": call_id,
        "to": page,
        "from": psid,
        "event": "connect",
        "timestamp": int(at_s),
        "call_direction": "user_initiated",
    }


def terminate(call_id: str, *, status: str, start_s: float, end_s: float, duration_s: int | None) -> Event:
    """Builds the event that ends every call; `duration` is left out if the business never connected (section 3.4)."""
    event: Event = {
        "id": call_id,
        "event": "terminate",
        "timestamp": int(end_s),
        "status": status,
        "start_time": int(start_s),
        "end_time": int(end_s),
    }
    return event if duration_s is None else event | {"duration": duration_s}


def media_update(call_id: str, *, version: int, offer: str, at_s: float) -> Event:
    """Builds the event that carries a new offer of Meta's for a call that goes on (section 3.3)."""
    session = {"version": version, "sdp_renegotiation": {"sdp_type": "offer", "sdp": offer}}
    return {"id": call_id, "event": "media_update", "timestamp": int(at_s), "session": session}


def body(page: str, *events: Event) -> bytes:
    """Wraps call events in the envelope, in Meta's wire form: compact ASCII, slashes escaped (section 1.3)."""
    envelope = {"object": "page", "entry": [{"id": page, "time": int(time.time()), "calls": list(events)}]}
    return json.dumps(envelope, separators=(",", ":")).replace("/", r"\/").encode("ascii")


def signature(app_secret: str, raw: bytes) -> str:
    """Returns the value of X-Hub-Signature-256 for exactly these bytes."""
    return "sha256=" + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()


@dataclass(slots=True)
class Delivery:
    """Records one webhook: every attempt and what the receiver said; status None where no answer came."""

    call_id: str
    event: str
    attempts: list[dict[str, float | int | None]] = field(default_factory=list)
    delivered: bool = False


class Postman:
    """Delivers webhooks: anything but a 200 is tried again after growing pauses, and given up in the end."""

    def __init__(self, settings: Settings) -> None:
        self.deliveries: list[Delivery] = []
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=settings.webhook_timeout_s, trust_env=False)

    async def deliver(self, page: str, event: Event) -> Delivery:
        """Posts one event until the receiver answers 200 or patience ends."""
        raw = body(page, event)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
            "X-Hub-Signature-256": signature(self._settings.app_secret, raw),
        }
        delivery = Delivery(event["id"], event["event"])
        self.deliveries.append(delivery)
        for pause_s in (None, *self._settings.webhook_retry_pauses_s):
            if pause_s:
                await asyncio.sleep(pause_s)
            sent_ms = time.time() * 1000
            try:
                answer = await self._client.post(self._settings.webhook_url, content=raw, headers=headers)
                status: int | None = answer.status_code
            except httpx.TransportError:
                status = None
            delivery.attempts.append({"sent_ms": sent_ms, "took_ms": time.time() * 1000 - sent_ms, "status": status})
            if status == httpx.codes.OK:
                delivery.delivered = True
                return delivery
        log.warning("webhook.given_up", call_id=delivery.call_id, webhook=delivery.event, status=status)
        return delivery

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()
