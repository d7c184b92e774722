"""Checks and decodes webhooks in an ordinary Starlette endpoint, and keeps the events in a dictionary."""

import hmac
import os

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

SECRET = os.environ["META_APP_SECRET"].encode()


class CallEvent(msgspec.Struct, rename={"sender": "from"}):
    """One element of `calls`."""

    id: str
    event: str
    timestamp: int
    to: str = ""
    sender: str = ""
    call_direction: str = ""
    call_status: str = ""
    status: str = ""
    start_time: int | None = None
    end_time: int | None = None
    duration: int | None = None


class Entry(msgspec.Struct):
    """One Page's events."""

    id: str
    time: int
    calls: list[CallEvent] = []


class Body(msgspec.Struct):
    """What Meta posts."""

    object: str
    entry: list[Entry]


decode = msgspec.json.Decoder(Body).decode
latest: dict[str, CallEvent] = {}


async def webhook(request: Request) -> Response:
    """Take one POST."""
    body = await request.body()
    expected = "sha256=" + hmac.digest(SECRET, body, "sha256").hex()
    if not hmac.compare_digest(expected, request.headers.get("x-hub-signature-256", "")):
        return PlainTextResponse("bad signature", status_code=401)
    for entry in decode(body).entry:
        for event in entry.calls:
            latest[event.id] = event
    return PlainTextResponse("EVENT_RECEIVED")


app = Starlette(routes=[Route("/webhook", webhook, methods=["POST"])])
