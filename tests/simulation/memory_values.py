"""What a `MemoryRedis` keeps under its keys, and how Redis writes it down."""

import bisect
import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from shared.wire import Argument

Fields: TypeAlias = list[bytes]
EntryId: TypeAlias = tuple[int, int]

OLDEST: Final[EntryId] = (0, 0)


class Stream:
    """Entries in the order of their ids."""

    def __init__(self) -> None:
        self.entries: list[tuple[EntryId, Fields]] = []
        self.last: EntryId = OLDEST

    def after(self, entry_id: EntryId, most: int) -> list[tuple[EntryId, Fields]]:
        """Return up to `most` entries behind this one."""
        start = bisect.bisect_right(self.entries, entry_id, key=lambda entry: entry[0])
        return self.entries[start : start + most]


class Members(dict[bytes, None]):
    """A set that keeps the order of insertion."""


class Scores(dict[bytes, float]):
    """A sorted set."""

    def ranked(self) -> list[bytes]:
        """Return the members by score, then by name, as Redis does."""
        return sorted(self, key=lambda member: (self[member], member))


def as_bytes(argument: Argument) -> bytes:
    """Return an argument as it goes over the wire."""
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return argument.encode()
    return number_text(argument)


def number_text(value: float) -> bytes:
    """Return a number as Redis writes it: whole ones without a point."""
    return b"%d" % value if math.isfinite(value) and value == int(value) else repr(value).encode()


def within(score: float, low: bytes, high: bytes) -> bool:
    """Tell whether a score lies between two ends, of which `(` leaves one out."""

    def limit(text: bytes) -> float:
        return float(text.removeprefix(b"("))

    above = score > limit(low) if low[:1] == b"(" else score >= limit(low)
    return above and (score < limit(high) if high[:1] == b"(" else score <= limit(high))


def between(ranked: list[bytes], first: int, last: int) -> list[bytes]:
    """Return the members of these ranks, both ends included."""
    return ranked[first:] if last == -1 else ranked[first : last + 1]


def id_of(text: bytes) -> EntryId:
    """Return an entry's id."""
    ms, _, number = text.partition(b"-")
    return int(ms), int(number or 0)


def name_of(entry_id: EntryId) -> bytes:
    """Return an id as text."""
    return b"%d-%d" % entry_id


def bound(text: bytes, open_end: EntryId) -> EntryId:
    """Return an end of a range of ids."""
    return open_end if text in (b"-", b"+") else id_of(text)


def told(entry: tuple[EntryId, Iterable[bytes]]) -> list[Any]:
    """Return an entry as a reply has it."""
    return [name_of(entry[0]), list(entry[1])]
