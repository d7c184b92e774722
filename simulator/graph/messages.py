"""The edge `messages`: what a Page writes to a person around calls (reference, sections 5.3 and 7.4)."""

import secrets
from typing import Any

from simulator.graph.asked import Asked, Body
from simulator.outbound import Outbound
from simulator.settings import Settings


class Recipient(Body):
    """Who is written to."""

    id: str


class CallingOptin(Body, tag_field="template_type", tag="calling_optin"):
    """Asks for the permission to call."""


class Template(Body, tag_field="type", tag="template"):
    """An attachment that is a template."""

    payload: CallingOptin


class Message(Body):
    """What is written."""

    attachment: Template


class Send(Body):
    """The body of `POST /{page}/messages`."""

    recipient: Recipient
    message: Message


class MessagesEdge:
    """Takes messages."""

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._settings = settings
        self._outbound = outbound

    async def post(self, asked: Asked) -> dict[str, Any]:
        """Delivers one message; raises `Refused`."""
        sent = asked.body(Send)
        self._outbound.ask(asked.page, sent.recipient.id)
        return self._sent(sent.recipient.id)

    def _sent(self, psid: str) -> dict[str, Any]:
        message_id = "m_" + secrets.token_urlsafe(24)
        if self._settings.message_shape == "flat":
            return {"recipient_id": psid, "message_id": message_id}
        return {"recipient": {"id": psid}, "message_id": message_id}
