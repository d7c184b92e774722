"""Checks and decodes webhooks as FastAPI's guide has it, the body a pydantic model, and keeps them in a dictionary."""

import hmac
import os
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field

SECRET = os.environ["META_APP_SECRET"].encode()


class CallEvent(BaseModel):
    """One element of `calls`."""

    id: str
    event: str
    timestamp: int
    to: str = ""
    sender: str = Field(default="", alias="from")
    call_direction: str = ""
    call_status: str = ""
    status: str = ""
    start_time: int | None = None
    end_time: int | None = None
    duration: int | None = None


class Entry(BaseModel):
    """One Page's events."""

    id: str
    time: int
    calls: list[CallEvent] = []


class Body(BaseModel):
    """What Meta posts."""

    object: str
    entry: list[Entry]


latest: dict[str, CallEvent] = {}


async def webhook(body: Body, request: Request, x_hub_signature_256: Annotated[str, Header()] = "") -> dict[str, str]:
    """Take one POST."""
    expected = "sha256=" + hmac.digest(SECRET, await request.body(), "sha256").hex()
    if not hmac.compare_digest(expected, x_hub_signature_256):
        raise HTTPException(status_code=401, detail="bad signature")
    for entry in body.entry:
        for event in entry.calls:
            latest[event.id] = event
    return {"status": "ok"}


app = FastAPI()
app.add_api_route("/webhook", webhook, methods=["POST"])
