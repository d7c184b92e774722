"""Reads a plan from a TOML file, with errors that name the line; docs/handlers.md shows a whole one."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pageline import Spoken, Timetable
from pageline.playable import check_sound
from workers.handlers import environment
from workers.handlers.plan import Action, Menu, Plan, Sounds
from workers.handlers.toml_lines import TomlLines

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
KEYS: Final = frozenset("0123456789*#")
_SPAN: Final = re.compile(r"(\d\d):([0-5]\d)\s*-\s*(\d\d):([0-5]\d)", re.ASCII)
_EVERY_YEAR: Final = re.compile(r"\d\d-\d\d", re.ASCII)

Where = tuple[str, ...]
"""The keys that lead to a value of the file."""
Span = tuple[int, int]
"""From a minute of the day to another, which is not in it."""


def read_plan(path: Path) -> Plan:
    """Read a file of menus.

    Raises:
        ValueError: it cannot be used; the message names the lines and what is wrong there.
    """
    try:
        text = path.read_text()
        reader = _Reader(path, TomlLines(text))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, or no TOML, whose message has the line
        raise ValueError(f"{path} is not usable: {error}") from error
    plan = reader.plan()
    if reader.errors:
        listed = "".join(f"\n  line {line}: {what}" for line, what in sorted(reader.errors))
        raise ValueError(f"{path} is not usable:{listed}")
    return plan


class _Reader:
    """Reads on after an error, to tell all of them at once."""

    def __init__(self, path: Path, lines: TomlLines) -> None:
        self.errors: list[tuple[int, str]] = []
        self._folder = path.parent
        self._lines = lines
        self._menus: frozenset[str] = frozenset()

    def _wrong(self, where: Where, what: str) -> None:
        named = ".".join(where)
        self.errors.append((self._lines.line_of(where), f"{named}: {what}" if named else what))

    def plan(self) -> Plan:
        top = self._table((), self._lines.content, ["timezone", "holidays", "hours", "open", "closed", "menus"])
        menus = self._table(("menus",), top.get("menus", {}))
        self._menus = frozenset(menus)
        timed = [key for key in ("hours", "holidays") if key in top]
        for missing in (["open"] if "open" not in top else []) + (
            [key for key in ("timezone", "closed") if key not in top] if timed else []
        ):
            self._wrong((), f"`{missing}` is missing" + (f", which `{timed[0]}` needs" if missing != "open" else ""))
        if "closed" in top and not timed:
            self._wrong(("closed",), "it is never closed: there are no `hours` and no `holidays`")
        return Plan(
            open=self._action(("open",), top.get("open", {"hang_up": True})),
            closed=self._action(("closed",), top["closed"]) if "closed" in top else None,
            menus={name: self._menu(("menus", name), menu) for name, menu in menus.items()},
            times=Timetable(
                zone=self._zone(("timezone",), top["timezone"]) if "timezone" in top else UTC,
                week=self._week(("hours",), top["hours"]) if "hours" in top else None,
                holidays=frozenset(self._holidays(("holidays",), top.get("holidays", []))),
            ),
        )

    def _menu(self, where: Where, given: Any) -> Menu:
        menu = self._table(where, given, ["prompt", "keys", "unknown", "timeout_seconds", "tries", "fallback"])
        for missing in {"prompt", "keys"} - menu.keys():
            self._wrong(where, f"`{missing}` is missing")
        keys = self._table((*where, "keys"), menu.get("keys", {}))
        for key in keys.keys() - KEYS:
            self._wrong((*where, "keys", key), "no telephone has this key: it is one of 0-9, * and #")
        return Menu(
            prompt=self._sounds((*where, "prompt"), menu.get("prompt", [])),
            keys={key: self._action((*where, "keys", key), action) for key, action in keys.items()},
            unknown=self._sounds((*where, "unknown"), menu.get("unknown", [])),
            timeout_s=self._number((*where, "timeout_seconds"), menu.get("timeout_seconds", Menu.timeout_s), 1, 60),
            tries=int(self._number((*where, "tries"), menu.get("tries", Menu.tries), 1, 10, whole=True)),
            fallback=self._action((*where, "fallback"), menu.get("fallback", {"hang_up": True})),
        )

    def _action(self, where: Where, given: Any) -> Action:
        table = self._table(where, given, ["play", "menu", "voicemail", "hang_up"])
        after = [key for key in ("menu", "voicemail", "hang_up") if key in table]
        if len(after) > 1:
            self._wrong(where, f"one of {' and '.join(after)}, not {'both' if len(after) == 2 else 'all'}")
        if not table and isinstance(given, dict):
            self._wrong(where, "nothing is done: write play, menu, voicemail or hang_up")
        menu, voicemail = table.get("menu", ""), table.get("voicemail")
        if "menu" in table and menu not in self._menus:
            there = ", ".join(sorted(self._menus)) or "none"
            self._wrong((*where, "menu"), f"there is no menu {menu!r}; those of the file: {there}")
        for key in ("voicemail", "hang_up"):
            if key in table and table[key] is not True and (key == "hang_up" or not isinstance(table[key], str)):
                self._wrong((*where, key), "write true" + (", or a greeting's path" if key == "voicemail" else ""))
        return Action(
            play=self._sounds((*where, "play"), table.get("play", [])),
            menu=menu if isinstance(menu, str) else "",
            voicemail=self._path((*where, "voicemail"), voicemail)
            if isinstance(voicemail, str)
            else ""
            if voicemail is not None
            else None,
            hang_up="hang_up" in table,
        )

    def _table(self, where: Where, given: Any, known: Iterable[str] | None = None) -> dict[str, Any]:
        if not isinstance(given, dict):
            self._wrong(where, f"{given!r} is no table")
            return {}
        for key in given.keys() - set(given if known is None else known):
            self._wrong((*where, key), f"there is no such key here; there are {', '.join(known or ())}")
        return given

    def _sounds(self, where: Where, given: Any) -> Sounds:
        return tuple(self._sound(where, sound) for sound in (given if isinstance(given, list) else [given]))

    def _sound(self, where: Where, given: Any) -> str | Spoken:
        if isinstance(given, str):
            return self._path(where, given)
        if not isinstance(given, dict) or given.keys() != {"say"} or not isinstance(given["say"], str):
            self._wrong(where, f'{given!r} is no sound: write a path, {{ say = "a text" }}, or a list of them')
            return ""
        if not environment.text("TTS_COMMAND"):
            self._wrong(where, "a text needs a program that speaks it, and TTS_COMMAND is not set")
        return Spoken(given["say"])

    def _path(self, where: Where, given: str) -> str:
        """Return a path, which is relative to the file's folder."""
        path = self._folder / given
        try:
            check_sound(path)
        except ValueError as error:
            self._wrong(where, str(error))
        return str(path)

    def _number(self, where: Where, given: Any, least: int, most: int, *, whole: bool = False) -> float:
        fits = (
            isinstance(given, int if whole else int | float) and not isinstance(given, bool) and least <= given <= most
        )
        if not fits:
            self._wrong(where, f"{given!r} is no {'whole ' if whole else ''}number from {least} to {most}")
        return given if fits else least

    def _zone(self, where: Where, given: Any) -> tzinfo:
        if not isinstance(given, str) or given not in available_timezones():
            self._wrong(where, f"{given!r} is no time zone: write its IANA name, such as Africa/Lagos")
            return UTC
        return ZoneInfo(given)

    def _week(self, where: Where, given: Any) -> tuple[tuple[Span, ...], ...]:
        table = self._table(where, given, DAYS)
        return tuple(self._spans((*where, day), table.get(day, [])) for day in DAYS)

    def _spans(self, where: Where, given: Any) -> tuple[Span, ...]:
        listed = given if isinstance(given, list) else [given]
        return tuple(span for one in listed if (span := self._span(where, one)) is not None)

    def _span(self, where: Where, given: Any) -> Span | None:
        match = _SPAN.fullmatch(given.strip()) if isinstance(given, str) else None
        if match is None:
            self._wrong(where, f"{given!r} is no span of time: write it like 09:00-17:00")
            return None
        hour, minute, to_hour, to_minute = map(int, match.groups())
        opens, closes = hour * 60 + minute, to_hour * 60 + to_minute
        if closes > 24 * 60 or closes <= opens:
            self._wrong(where, f"{given!r}: it closes after it opens, by 24:00; a night belongs to two days")
            return None
        return opens, closes

    def _holidays(self, where: Where, given: Any) -> Iterable[str]:
        if not isinstance(given, list):
            self._wrong(where, f"{given!r} is no list of days")
            return
        for day in given:
            if isinstance(day, date) and not isinstance(day, datetime):
                yield day.isoformat()
            elif isinstance(day, str) and _EVERY_YEAR.fullmatch(day) and _is_day(f"2000-{day}"):
                yield day
            else:
                self._wrong(where, f'{day!r} is no day: write 2026-12-25, or "12-25" in quotes for every year')


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
