"""One request to Graph, and how its body is read: strictly, for a stand-in that takes anything proves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from simulator.calls import Refused

T = TypeVar("T")


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON object of which every field is known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Holds what was asked of one edge of a Page."""

    method: str
    page: str
    edge: str
    params: Mapping[str, str]
    raw: bytes

    def body(self, type_: type[T]) -> T:
        """Decodes the body, or raises `Refused`."""
        return strictly(self.raw, type_)

    def peek(self) -> dict[str, Any]:
        """Returns the body as it is, empty where it is no JSON object."""
        try:
            found = msgspec.json.decode(self.raw or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}
        return found if isinstance(found, dict) else {}


def strictly(raw: bytes, type_: type[T]) -> T:
    """Decodes JSON of exactly this shape; whatever is missing, wrong or unknown is `Refused` with its place."""
    try:
        return msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(100, f"Invalid parameter: {error}") from error
