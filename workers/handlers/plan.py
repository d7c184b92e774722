"""What callers meet when, and what their keys do: `plan_file` reads it, and `guide` leads callers through it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from pageline import Spoken

Sounds = tuple[str | Spoken, ...]
"""Paths, and texts to be spoken."""
Span = tuple[int, int]
"""From a minute of the day to another, which is not in it."""


@dataclass(frozen=True)
class Action:
    """Sounds, and what comes after them: at most one of the rest, or else the menu it came from once more."""

    play: Sounds = ()
    menu: str = ""
    voicemail: str | None = None
    """The greeting; empty for the usual one."""
    hang_up: bool = False


HANG_UP: Final = Action(hang_up=True)


@dataclass(frozen=True)
class Menu:
    """A question, and what each key does."""

    prompt: Sounds
    keys: Mapping[str, Action]
    unknown: Sounds = ()
    timeout_s: float = 5.0
    tries: int = 3
    fallback: Action = HANG_UP
    """What is done where no key of the menu was pressed in so many tries."""


@dataclass(frozen=True)
class Plan:
    """What callers meet."""

    open: Action = HANG_UP
    closed: Action | None = None
    menus: Mapping[str, Menu] = field(default_factory=dict)
    zone: ZoneInfo | None = None
    hours: tuple[tuple[Span, ...], ...] | None = None
    """By day, Monday first; none is always open."""
    holidays: frozenset[str] = frozenset()
    """`2026-12-25`, or `12-25` for every year."""

    def at(self, moment: datetime) -> Action:
        """Return what a caller meets at a moment, which has a time zone."""
        return self.open if self.closed is None or self.is_open(moment) else self.closed

    def is_open(self, moment: datetime) -> bool:
        """Tell whether it is within the hours and on no holiday, where the file's time zone is."""
        local = moment.astimezone(self.zone)
        day = local.date().isoformat()
        if day in self.holidays or day[5:] in self.holidays:
            return False
        minute = local.hour * 60 + local.minute
        return self.hours is None or any(opens <= minute < closes for opens, closes in self.hours[local.weekday()])
