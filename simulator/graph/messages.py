"""The edge `messages`: what a Page writes to a person around calls (reference, sections 5.3, 7.4 and 7.5)."""

import secrets
from typing import Annotated, Any, Literal

import msgspec

from simulator.call_settings import Pages
from simulator.calls import Refused, now_ms
from simulator.graph.asked import Asked, Body
from simulator.outbound import Outbound
from simulator.people import People
from simulator.settings import Settings

DAYS_AT_MOST = 7  # section 7.5
CALLING_OFF = (100, "Call Settings Not Enabled", 1893056)
OUTSIDE_WINDOW = (10, "This message is sent outside of allowed window.", 2018278)

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]  # Send API reference, buttons


class AudioCall(Body, tag_field="type", tag="audio_call"):
    """A button that calls the Page."""

    title: Title
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_AT_MOST)] = DAYS_AT_MOST


class WebUrl(Body, tag_field="type", tag="web_url"):
    """A button that opens a page."""

    title: Title
    url: str


class Postback(Body, tag_field="type", tag="postback"):
    """A button that tells the business that it was pressed."""

    title: Title
    payload: Annotated[str, msgspec.Meta(max_length=1000)]


Buttons = Annotated[list[AudioCall | WebUrl | Postback], msgspec.Meta(min_length=1, max_length=3)]


class CallingOptin(Body, tag_field="template_type", tag="calling_optin"):
    """Asks for the permission to call."""


class CallPrompt(Body, tag_field="template_type", tag="call_prompt"):
    """Invites to call."""

    ttl_days: Annotated[int, msgspec.Meta(ge=1)] = DAYS_AT_MOST


class ButtonTemplate(Body, tag_field="template_type", tag="button"):
    """A text with buttons."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=640)]
    buttons: Buttons


class Element(Body):
    """One card of a generic template."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    subtitle: Annotated[str, msgspec.Meta(max_length=80)] | None = None
    image_url: str | None = None
    buttons: Buttons | None = None


class GenericTemplate(Body, tag_field="template_type", tag="generic"):
    """Cards."""

    elements: Annotated[list[Element], msgspec.Meta(min_length=1, max_length=10)]


class Template(Body, tag_field="type", tag="template"):
    """An attachment that is a template."""

    payload: CallingOptin | CallPrompt | ButtonTemplate | GenericTemplate


class Message(Body):
    """What is written: a text or a template."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)] | None = None
    attachment: Template | None = None


class Recipient(Body):
    """Who is written to."""

    id: str


class Send(Body):
    """The body of `POST /{page}/messages`."""

    recipient: Recipient
    message: Message
    messaging_type: Literal["RESPONSE", "UPDATE", "MESSAGE_TAG"] | None = None
    tag: str | None = None


class MessagesEdge:
    """Takes messages and keeps them."""

    def __init__(self, settings: Settings, outbound: Outbound, pages: Pages, people: People) -> None:
        self.sent: list[dict[str, Any]] = []
        self._settings = settings
        self._outbound = outbound
        self._pages = pages
        self._people = people

    async def post(self, asked: Asked) -> dict[str, Any]:
        """Delivers one message; raises `Refused`."""
        sent = asked.body(Send)
        psid, message = sent.recipient.id, sent.message
        if (message.text is None) == (message.attachment is None):
            raise Refused(100, "Invalid parameter: a message has a text or an attachment")
        payload = message.attachment.payload if message.attachment else None
        if _is_about_calls(payload) and not self._pages.may_call(asked.page):
            raise Refused(*CALLING_OFF)
        if not self._people.person(psid).window_open:
            raise Refused(*OUTSIDE_WINDOW)
        if isinstance(payload, CallingOptin):
            self._outbound.ask(asked.page, psid)
        message_id = "m_" + secrets.token_urlsafe(24)
        self.sent.append(
            {"at_ms": now_ms(), "page": asked.page, "psid": psid, "message_id": message_id}
            | {"message": asked.peek()["message"]}
        )
        return self._reply(payload, psid, message_id)

    def _reply(self, payload: object, psid: str, message_id: str) -> dict[str, Any]:
        """Builds the answer as it is printed for each kind of message; the printed ones do not agree."""
        match payload if self._settings.message_shape == "documented" else None:
            case CallingOptin():
                return {"recipient": {"id": psid}, "message_id": message_id}
            case ButtonTemplate() | GenericTemplate() if _is_about_calls(payload):
                return {"recipient": {"id": psid, "message_id": message_id}}
            case _:
                return {"recipient_id": psid, "message_id": message_id}


def _is_about_calls(payload: object) -> bool:
    match payload:
        case CallingOptin() | CallPrompt():
            return True
        case ButtonTemplate(buttons=buttons):
            return any(isinstance(button, AudioCall) for button in buttons)
        case GenericTemplate(elements=elements):
            return any(isinstance(button, AudioCall) for element in elements for button in element.buttons or ())
        case _:
            return False
