"""What callers meet when, and what their keys do: `plan_file` reads it, and `guide` leads callers through it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pageline import Spoken, Timetable

Sounds = tuple[str | Spoken, ...]
"""Paths, and texts to be spoken."""


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
    times: Timetable = field(default_factory=Timetable)

    def at(self, moment: datetime) -> Action:
        """Return what a caller meets at a moment, which has a time zone."""
        return self.open if self.closed is None or self.is_open(moment) else self.closed

    def is_open(self, moment: datetime) -> bool:
        """Tell whether it is within the file's hours and on none of its holidays."""
        return self.times.is_open(moment)
