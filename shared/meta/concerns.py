"""Whom a webhook body is about: what is one consumer's alone may be thrown away without anybody else missing it."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from shared.unreadable import UNREADABLE

_PARTIES: Final = ("sender", "recipient", "from", "to", "recipient_id")


class _Envelope(msgspec.Struct):
    entry: list[dict[str, Any]]


def is_only_about(body: bytes, consumer: str) -> bool:
    """Tell whether every element of a body is from or to the consumer; not of one that cannot be read."""
    try:
        entries = msgspec.json.decode(body, type=_Envelope).entry
    except UNREADABLE:
        return False
    return bool(entries) and all(_names(element, consumer) for entry in entries for element in _elements(entry))


def _elements(entry: dict[str, Any]) -> Iterator[Any]:
    """Yield what an entry tells: a list for each field, or an object; or one event on the entry itself."""
    told = [value for value in entry.values() if isinstance(value, list | dict)]
    if "sender" in entry or not told:
        yield entry
        return
    for value in told:
        yield from value if isinstance(value, list) else [value]


def _names(element: Any, consumer: str) -> bool:
    if not isinstance(element, dict):
        return False
    event = element.get("value", element)  # of `changes`
    if not isinstance(event, dict):
        return False
    parties = (event.get(party) for party in _PARTIES)
    return any(str(party.get("id") if isinstance(party, dict) else party) == consumer for party in parties)
