"""Webhooks as Meta sends them: the documented bodies, in Meta's wire form, signed."""

import hashlib
import hmac
import json
import time
from typing import Any

from simulator.calls import Call
from simulator.settings import ReplyPlace

Event = dict[str, Any]


def connect(call: Call) -> Event:
    """Builds the event that says that there is a call (reference, section 3.1): there is no SDP in it.

    Page and person stand in the same places whoever calls whom: the documentation has it so for both directions.
    """
    return {
        "id": call.id,
        "to": call.page,
        "from": call.psid,
        "event": "connect",
        "timestamp": int(call.started_ms / 1000),
        "call_direction": call.direction,
    }


def call_status(call: Call, status: str, *, at_s: float) -> Event:
    """Builds the event that says that a called person's device rings, or that they picked up (section 3.2)."""
    return {
        "id": call.id,
        "event": "call_status",
        "timestamp": int(at_s),
        "recipient_id": call.psid,
        "call_status": status,
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


def calls(page: str, *events: Event) -> Event:
    """Builds the entry that carries call events."""
    return {"id": page, "time": int(time.time()), "calls": list(events)}


def permission_reply(page: str, psid: str, response: str, *, expires_s: int | None, place: ReplyPlace) -> Event:
    """Builds the entry with a person's answer to a permission request, in either place it may have (section 3.5)."""
    now_s = int(time.time())
    reply: Event = {"response": response}
    if expires_s is not None:
        reply["expiration_timestamp"] = str(expires_s) if place == "entry" else expires_s
    told = {"sender": {"id": psid}, "recipient": {"id": page}, "timestamp": now_s, "call_permission_reply": reply}
    return told if place == "entry" else {"id": page, "time": now_s, "messaging": [told]}


def settings_update(page: str, settings: Event) -> Event:
    """Builds the entry with a Page's call settings, in which the routing is a bare word (section 7.6)."""
    told = {name: value for name, value in settings.items() if name != "video_enabled"}
    told["call_routing"] = settings["call_routing"]["ring_target"]
    return {"id": page, "time": int(time.time()), "call_settings": told}


def body(*entries: Event) -> bytes:
    """Wraps entries in the envelope, in Meta's wire form: compact ASCII, slashes escaped (section 1.3)."""
    envelope = {"object": "page", "entry": list(entries)}
    return json.dumps(envelope, separators=(",", ":")).replace("/", r"\/").encode("ascii")


def signature(app_secret: str, raw: bytes) -> str:
    """Returns the value of X-Hub-Signature-256 for exactly these bytes."""
    return "sha256=" + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()
