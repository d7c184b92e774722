"""`PAGES_FILE`: a TOML file with a table per Page, read with errors that name the file, the table and the key."""

import os
import re
import tomllib
import zoneinfo
from datetime import UTC
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from shared.choice import Date, Handler, Rule
from shared.errors import BadSetting
from shared.meta.call_settings import DAYS, CallSettings, Day, Hours
from shared.timetable import Timetable, Week

_INTERVAL: Final = re.compile(r"(?P<open>\d\d:?\d\d)\s*-\s*(?P<close>\d\d:?\d\d)", re.ASCII)
_LAST_MINUTE: Final = "2359"


class Interval(str):
    """When a day opens and closes: `09:00-17:00` or `0900-1700`."""

    __slots__ = ()

    def on(self, day: int) -> Day:
        """Return it as that day's; Monday is 0.

        Raises:
            ValueError: it is no interval; the message says why.
        """
        match = _INTERVAL.fullmatch(self.strip())
        if match is None:
            raise ValueError(f"{self!r} is no interval: write it like 09:00-17:00, one for a day")
        opens, closes = (match[part].replace(":", "") for part in ("open", "close"))
        for time in (opens, closes):
            if time > _LAST_MINUTE or time[2:] > "59":
                raise ValueError(f"{self!r}: a day lasts from 00:00 to 23:59")
        if closes <= opens:
            raise ValueError(f"{self!r} closes before it opens; a night belongs to two days")
        return Day(day, opens, closes)


class Zone(str):
    """The IANA name of a time zone."""

    __slots__ = ()


class OpeningHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `hours`: a day that is not listed is closed."""

    timezone: Zone
    monday: Interval | None = None
    tuesday: Interval | None = None
    wednesday: Interval | None = None
    thursday: Interval | None = None
    friday: Interval | None = None
    saturday: Interval | None = None
    sunday: Interval | None = None

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Return the time zone."""
        return zoneinfo.ZoneInfo(self.timezone)

    @property
    def hours(self) -> Hours:
        """Return them as call hours."""
        listed = ((number, getattr(self, day)) for number, day in enumerate(DAYS))
        return Hours(str(self.timezone), tuple(interval.on(number) for number, interval in listed if interval))

    @property
    def week(self) -> Week:
        """Return them by day."""
        return tuple(
            tuple((_minute(each.opens), _minute(each.closes)) for each in self.hours.week if each.day == number)
            for number in range(len(DAYS))
        )


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Page's table. Of the call settings, what is not given is left alone at Meta."""

    token: str = ""
    token_env: str = ""
    token_file: str = ""
    handler: str = ""
    fallback: tuple[Handler, ...] | None = None
    """Who takes over, one after the other, when the handler raises; CALL_FALLBACK where there is none."""
    audio: bool | None = None
    video: bool | None = None
    icon: bool | None = None
    routing: Literal["partners", "meta"] | None = None
    hours: OpeningHours | None = None
    holidays: tuple[Date, ...] = ()
    """Days without hours, for `rules`; Meta knows none."""
    options: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    record_consent: str = ""
    """What consumers hear before anything they say is recorded, a path."""

    @property
    def call_settings(self) -> CallSettings:
        """Return the call settings that are wanted at Meta."""
        return CallSettings(
            audio=self.audio,
            video=self.video,
            icon=self.icon,
            hours=None if self.hours is None else self.hours.hours,
            routing=None if self.routing is None else self.routing.upper(),
        )

    @property
    def times(self) -> Timetable:
        """Return when it is open, for `rules`; without hours, holidays are days of UTC."""
        holidays = frozenset(self.holidays)
        if self.hours is None:
            return Timetable(UTC, None, holidays)
        return Timetable(self.hours.zone, self.hours.week, holidays)

    def secret(self, page: str) -> str:
        """Return the Page's access token from wherever it is kept, or ""."""
        if self.token_env:
            token = os.environ.get(self.token_env, "")
            if not token:
                raise BadSetting(f"{self.token_env} is not set; PAGES_FILE names it as the token of Page {page}.")
            return token
        if self.token_file:
            try:
                return Path(self.token_file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise BadSetting(f"{self.token_file}, token_file of Page {page}, cannot be read: {error}") from error
        return self.token


def read_pages(path: Path) -> dict[str, Page]:
    """Return the tables of a file, by Page.

    Raises:
        BadSetting: it cannot be read, or a table cannot be used; the message names file, table and key.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadSetting(f"PAGES_FILE={path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"PAGES_FILE={path} is not usable: {error}.") from error
    return {page: _page(path, page, table) for page, table in tables.items()}


def _page(path: Path, page: str, table: Any) -> Page:
    try:
        read = msgspec.convert(table, Page, dec_hook=_read)
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        where = f"[{page}]" + (f" {key.rstrip('`')}" if key else "")
        raise BadSetting(f"PAGES_FILE={path} is not usable: {where}: {what[0].lower()}{what[1:]}.") from error
    if any(rule.when for rule in read.rules) and not (read.hours or read.holidays):
        raise BadSetting(
            f"PAGES_FILE={path} is not usable: [{page}] rules: when: the Page has no hours and no holidays."
        )
    return read


def _minute(time: str) -> int:
    """Return which minute of the day `0930` is."""
    return int(time[:2]) * 60 + int(time[2:])


def _read(wanted: type, value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text: write it in quotes")
    if wanted is Interval:
        Interval(value).on(0)
    elif value not in zoneinfo.available_timezones():
        raise ValueError(f"{value!r} is no time zone: write its IANA name, such as Africa/Lagos")
    return wanted(value)
