"""A Page's call settings and subscriptions: what must be right before a call from a person reaches the business."""

import re
from collections import defaultdict
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from simulator.settings import Settings

FIELDS = ("audio_enabled", "video_enabled", "icon_enabled", "call_routing", "call_hours")
WEBHOOK_FIELDS = (
    "calls",
    "call_permission_reply",
    "call_settings_update",
    "messages",
    "messaging_postbacks",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "messaging_optins",
    "messaging_referrals",
    "messaging_handovers",
    "standby",
)
FEATURE = "messenger_api_calling"

Day = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


class Invalid(ValueError):
    """Says what is wrong with settings."""


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A JSON object of which every field is known."""


class OperatingHours(Strict):
    """One day's interval; there can be one a day."""

    day_of_week: Day
    open_time: str
    close_time: str


class CallHours(Strict):
    """When calls are taken; days that are not listed are closed (section 7.2)."""

    timezone_id: str
    weekly_operating_hours: list[OperatingHours]


class CallRouting(Strict):
    """Where calls from people ring."""

    ring_target: Literal["META", "PARTNERS"]


class Change(Strict):
    """Any part of the settings (section 7.1)."""

    audio_enabled: bool | None = None
    video_enabled: bool | None = None
    icon_enabled: bool | None = None
    call_routing: CallRouting | None = None
    call_hours: CallHours | None = None


class Pages:
    """Keeps the settings and subscriptions of every Page."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        routing = {"ring_target": settings.ring_target}
        self._kept: dict[str, dict[str, Any]] = defaultdict(
            lambda: {
                "audio_enabled": settings.audio_enabled,
                "video_enabled": True,
                "icon_enabled": True,
                "call_routing": routing,
            }
        )
        fields = set(WEBHOOK_FIELDS[:5]) if settings.subscribed else set()
        self._fields: dict[str, set[str]] = defaultdict(lambda: set(fields))

    def settings(self, page: str) -> dict[str, Any]:
        """Returns a Page's settings as Graph tells them; hours only if they were ever set."""
        return dict(self._kept[page])

    def change(self, page: str, change: Change) -> None:
        """Merges a change into a Page's settings; hours replace all that was set before. Raises `Invalid`."""
        if change.call_hours is not None:
            _check(change.call_hours)
        if change.call_routing is not None and change.call_routing.ring_target == "PARTNERS":
            if not self.is_enabled:
                raise Invalid("the Page is not yet eligible for calling")
            if "calls" not in self._fields[page]:
                raise Invalid("ring_target PARTNERS needs an app that is subscribed to the field calls")
        self._kept[page] |= {
            name: msgspec.to_builtins(value) for name in FIELDS if (value := getattr(change, name)) is not None
        }

    def subscribed(self, page: str) -> set[str]:
        """Returns the webhook fields that the app gets of a Page."""
        return self._fields[page]

    def subscribe(self, page: str, fields: set[str]) -> None:
        """Replaces them."""
        self._fields[page] = fields

    @property
    def is_enabled(self) -> bool:
        """Tells whether Pages have the feature of calling at all."""
        return self._settings.feature_status.lower() == "enabled"

    def may_call(self, page: str) -> bool:
        """Tells whether audio calls are switched on."""
        return bool(self._kept[page]["audio_enabled"])

    def why_in_vain(self, page: str) -> str | None:
        """Tells why a person's call does not reach the business; None: it does."""
        if not self.is_enabled:
            return f"the feature {FEATURE} is not enabled"
        if not self.may_call(page):
            return "audio_enabled is false"
        if self._kept[page]["call_routing"]["ring_target"] != "PARTNERS":
            return "call_routing.ring_target is META"
        if "calls" not in self._fields[page]:
            return "the Page is not subscribed to the field calls"
        return None


def _check(hours: CallHours) -> None:
    try:
        ZoneInfo(hours.timezone_id)
    except (ValueError, OSError, LookupError) as error:  # absolute, a folder, unknown
        raise Invalid(f"timezone_id {hours.timezone_id!r} is no IANA time zone") from error
    seen: set[str] = set()
    for day in hours.weekly_operating_hours:
        for name, at in (("open_time", day.open_time), ("close_time", day.close_time)):
            if not re.fullmatch(r"([01]\d|2[0-3])[0-5]\d", at):
                raise Invalid(f"{name} {at!r} of {day.day_of_week} is no time like 0930")
        if day.close_time <= day.open_time:
            raise Invalid(f"{day.day_of_week} closes before it opens")
        if day.day_of_week in seen:
            raise Invalid(f"{day.day_of_week} is there twice")
        seen.add(day.day_of_week)
