"""Bodies of Graph's `/{page}/messages` edge, as far as messages around calls go, and what it answers. Pure.

Sources: calling/biz2consumer/check-permissions (`calling_optin`), calling/callaudiocta (`call_prompt`, `audio_call`),
send-messages/template/button, .../template/generic and the Send API reference (lengths). Of `call_prompt` Meta shows a
table of fields and no body; the one here is built from that table.
"""

from typing import Any, Final, NamedTuple

import msgspec

from shared.unreadable import UNREADABLE

LONGEST_TEXT: Final = 2000
LONGEST_TEXT_ABOVE_A_BUTTON: Final = 640
LONGEST_LINE_OF_A_CARD: Final = 80
"""Of its title and of the text below."""
LONGEST_BUTTON: Final = 20
MOST_DAYS: Final = 7
"""For which a call button can be pressed: the default, and the most (callaudiocta). For `call_prompt` only the default
is documented; that more is refused there too is UNKNOWN, and we do not try."""


class Message(NamedTuple):
    """What is to be sent, checked already; made by the functions below."""

    kind: str
    """`text`, `call_button`, `call_prompt` or `calling_optin`."""
    content: dict[str, Any]
    """Graph's `message`."""


class Sent(NamedTuple):
    """Graph took a message."""

    message_id: str


def composed(text: str, *, title: str = "", call_button: str = "", days: int = MOST_DAYS) -> Message:
    """Return a text, or one with a button below that calls the Page for so many days.

    With a title it becomes a card: Meta's generic template, with the text as its subtitle.

    Raises:
        ValueError: Meta would not take it; the message says why.
    """
    if not call_button:
        if title:
            raise ValueError("a message has a title only together with a call_button")
        return Message("text", {"text": _checked("text of a message", text, LONGEST_TEXT)})
    button = {
        "type": "audio_call",
        "title": _checked("title of a call button", call_button, LONGEST_BUTTON),
        "expires_in_days": _checked_days("a call button", days),
    }
    if title:
        element = {
            "title": _checked("title of a message", title, LONGEST_LINE_OF_A_CARD),
            "subtitle": _checked("text below a title", text, LONGEST_LINE_OF_A_CARD),
            "buttons": [button],
        }
        return Message("call_button", _template("generic", elements=[element]))
    above = _checked("text above a call button", text, LONGEST_TEXT_ABOVE_A_BUTTON)
    return Message("call_button", _template("button", text=above, buttons=[button]))


def call_prompt(ttl_days: int = MOST_DAYS) -> Message:
    """Return Meta's own invitation to call the Page, good for so many days.

    Raises:
        ValueError: not 1 to 7 days.
    """
    return Message("call_prompt", _template("call_prompt", ttl_days=_checked_days("a call prompt", ttl_days)))


def optin() -> Message:
    """Return the question whether the Page may call; Meta allows two a day in one conversation."""
    return Message("calling_optin", _template("calling_optin"))


def body_of(message: Message, psid: str) -> bytes:
    """Return the JSON body that sends a message to a consumer.

    Raises:
        ValueError: there is no consumer.
    """
    if not psid.strip():
        raise ValueError("a message needs the Page-scoped id (PSID) of the consumer it is for")
    return _encode({"recipient": {"id": psid}, "message": message.content})


def optin_body(psid: str) -> bytes:
    """Return the JSON body that asks a consumer whether the Page may call."""
    return body_of(optin(), psid)


def read_sent(body: bytes) -> Sent | None:
    """Return the id Graph gave a message, wherever its three documented answers put it; none where it gave none."""
    try:
        reply = _decode(body)
    except UNREADABLE:
        return None
    if not isinstance(reply, dict):
        return None
    recipient = reply.get("recipient")
    told = [reply, recipient] if isinstance(recipient, dict) else [reply]
    given = (each.get("message_id") for each in told)
    return next((Sent(message_id) for message_id in given if isinstance(message_id, str) and message_id), None)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _template(template_type: str, **payload: Any) -> dict[str, Any]:
    return {"attachment": {"type": "template", "payload": {"template_type": template_type, **payload}}}


def _checked(what: str, text: str, longest: int) -> str:
    if not text.strip():
        raise ValueError(f"the {what} is empty")
    if len(text) > longest:
        raise ValueError(f"the {what} has {len(text)} characters; Meta takes {longest}")
    return text


def _checked_days(what: str, days: int) -> int:
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        raise ValueError(f"{what} is good for 1 to {MOST_DAYS} days, not for {days!r}")
    return days
