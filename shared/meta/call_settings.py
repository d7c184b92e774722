"""A Page's call settings: what Meta says they are, what we want them to be, and the way from one to the other. Pure.

Pages: calling/callsettings; reference page-messenger-call-settings. They disagree about the shape of replies and about
`call_routing`; both are read.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from shared.unreadable import UNREADABLE

FIELDS: Final = "call_routing,call_hours,audio_enabled,icon_enabled,video_enabled"
"""What `GET /{page}/messenger_call_settings` is asked for."""

EDGE: Final = "messenger_call_settings"
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PARTNERS: Final = "PARTNERS"
"""Only with this ring target do calls reach an app."""


class Name(StrEnum):
    """A setting, as PAGES_FILE names it; in the order in which they are best changed.

    Routing is the last: calls come to us from then on, and they should find the rest as it is wanted.
    """

    AUDIO = "audio"
    VIDEO = "video"
    ICON = "icon"
    HOURS = "hours"
    ROUTING = "routing"


class Day(msgspec.Struct, frozen=True, order=True):
    """When one day opens and closes, `hhmm`."""

    day: int
    """Monday is 0."""
    opens: str
    closes: str

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{DAYS[self.day]} {_friendly(self.opens)}-{_friendly(self.closes)}"


class Hours(msgspec.Struct, frozen=True):
    """Call hours; a day that is not listed is closed."""

    timezone: str
    week: tuple[Day, ...] = ()

    def __str__(self) -> str:
        """Return them on one line."""
        return f"{', '.join(map(str, self.week)) or 'always closed'} ({self.timezone})"


class CallSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings; none where nothing is said of one."""

    audio: bool | None = None
    video: bool | None = None
    icon: bool | None = None
    hours: Hours | None = None
    routing: str | None = None
    """`PARTNERS` or `META`, upper case."""

    def value(self, name: Name) -> "bool | str | Hours | None":
        """Return one of them."""
        found: bool | str | Hours | None = getattr(self, name)
        return found

    def told(self) -> dict[str, Any]:
        """Return what is known in the words of PAGES_FILE, as JSON has it."""
        return {str(name): _plain(value) for name in Name if (value := self.value(name)) is not None}


class Change(msgspec.Struct, frozen=True):
    """One setting that is not as it is wanted; each is sent alone.

    UNKNOWN: whether Meta does part of a request when it refuses another part.
    """

    name: Name
    wanted: "bool | str | Hours"
    actual: "bool | str | Hours | None"

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.name}: {in_words(self.actual)}, wanted {in_words(self.wanted)}"

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"setting": str(self.name), "wanted": _plain(self.wanted), "actual": _plain(self.actual)}

    @property
    def body(self) -> bytes:
        """Return the body that `POST /{page}/messenger_call_settings` takes for it."""
        return msgspec.json.encode(_as_meta_writes(self.name, self.wanted))


def difference(wanted: CallSettings, actual: CallSettings) -> tuple[Change, ...]:
    """Return what has to change at Meta; what is not wanted in any way is left alone."""
    pairs = ((name, wanted.value(name), actual.value(name)) for name in Name)
    return tuple(Change(name, want, has) for name, want, has in pairs if want is not None and want != has)


def in_words(value: "bool | str | Hours | None") -> str:
    """Return a setting's value as PAGES_FILE would have it."""
    match value:
        case None:
            return "not said"
        case bool():
            return "on" if value else "off"
        case _:
            return str(value) if isinstance(value, Hours) else value.lower()


# -- what Meta says ----------------------------------------------------------------------------------------------------


def read_settings(body: bytes | None) -> CallSettings | None:
    """Read the reply to a GET, flat as in the guide or in `data` as in the reference; none if it is neither."""
    try:
        reply = msgspec.json.decode(body or b"")
    except UNREADABLE:
        return None
    if isinstance(reply, dict) and "data" in reply:
        reply = reply["data"]
        if isinstance(reply, list):
            reply = reply[0] if reply else {}
    return of_meta(reply) if isinstance(reply, dict) else None


def of_meta(said: Mapping[str, Any]) -> CallSettings:
    """Read settings in Meta's spelling, as in a reply or under `call_settings` in a webhook; each part on its own."""
    return CallSettings(
        audio=_flag(said, "audio_enabled", "audio"),
        video=_flag(said, "video_enabled", "video"),
        icon=_flag(said, "icon_enabled", "icon"),
        hours=_hours(said.get("call_hours")),
        routing=_routing(said.get("call_routing")),
    )


def refused(body: bytes | None) -> bool:
    """Tell whether the reply to a POST says that it was not done: `{"result": "failure"}` or `{"success": false}`."""
    try:
        reply = msgspec.json.decode(body or b"")
    except UNREADABLE:
        return True
    if not isinstance(reply, dict):
        return True
    return str(reply.get("result", "")).lower() == "failure" or str(reply.get("success", "")).lower() == "false"


def _flag(said: Mapping[str, Any], *spellings: str) -> bool | None:
    for spelling in spellings:
        value = said.get(spelling)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
    return None


def _routing(said: Any) -> str | None:
    target = said.get("ring_target") if isinstance(said, dict) else said
    return target.upper() if isinstance(target, str) and target else None


def _hours(said: Any) -> Hours | None:
    if not isinstance(said, dict) or not isinstance(said.get("timezone_id"), str):
        return None
    listed = said.get("weekly_operating_hours")
    days = [day for each in listed if (day := _day(each))] if isinstance(listed, list) else []
    return Hours(said["timezone_id"], tuple(sorted(days)))


def _day(said: Any) -> Day | None:
    if not isinstance(said, dict):
        return None
    day, times = str(said.get("day_of_week", "")).lower(), (said.get("open_time"), said.get("close_time"))
    digits = [str(time).replace(":", "").zfill(4) for time in times]
    if day not in DAYS or not all(each.isascii() and each.isdigit() and len(each) == 4 for each in digits):
        return None
    return Day(DAYS.index(day), *digits)


# -- in both spellings -------------------------------------------------------------------------------------------------


def _as_meta_writes(name: Name, value: "bool | str | Hours") -> dict[str, Any]:
    match value:
        case bool():
            return {f"{name}_enabled": value}
        case Hours(timezone, week):
            days = [
                {"day_of_week": DAYS[each.day].upper(), "open_time": each.opens, "close_time": each.closes}
                for each in week
            ]
            return {"call_hours": {"timezone_id": timezone, "weekly_operating_hours": days}}
        case _:
            return {"call_routing": {"ring_target": value}}


def _plain(value: "bool | str | Hours | None") -> Any:
    match value:
        case Hours(timezone, week):
            days = {DAYS[each.day]: f"{_friendly(each.opens)}-{_friendly(each.closes)}" for each in week}
            return {"timezone": timezone} | days
        case str():
            return value.lower()
        case _:
            return value


def _friendly(hhmm: str) -> str:
    return f"{hhmm[:2]}:{hhmm[2:]}"
