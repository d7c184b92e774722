"""What a page of the desk may say over its WebSocket; anything else is refused with the reason."""

from typing import Annotated

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=_snake):
    """The root of all messages."""


class Ready(Message, frozen=True):
    """The agent takes calls now, or not."""

    ready: bool


class Take(Message, frozen=True):
    """Take this call, or whoever has waited longest."""

    call: Id | None = None


class Listen(Message, frozen=True):
    """Listen in, as a supervisor."""

    call: Id


class Answer(Message, frozen=True):
    """The browser's answer to the offer of a leg."""

    leg: Id
    sdp: Annotated[str, msgspec.Meta(max_length=32_768)]


class Hold(Message, frozen=True):
    """Put the consumer on hold, or take it off."""

    on: bool


class To(msgspec.Struct, frozen=True):
    """Where to transfer a call: a queue or an agent."""

    queue: Name | None = None
    agent: Name | None = None


class Transfer(Message, frozen=True):
    """Give the call to a queue or to a colleague."""

    to: To


class HangUp(Message, frozen=True):
    """End the call."""


class Leave(Message, frozen=True):
    """Stop listening."""


class Note(Message, frozen=True):
    """What the agent notes of a call: all of it, in place of what was noted before."""

    call: Id
    text: Annotated[str, msgspec.Meta(max_length=10_000)]


decode = msgspec.json.Decoder(Ready | Take | Listen | Answer | Hold | Transfer | HangUp | Leave | Note).decode
