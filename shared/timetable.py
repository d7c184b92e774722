"""When somebody is there: hours by the day of the week, and days without any, where the time zone is."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

Span = tuple[int, int]
"""From a minute of the day to another, which is not in it."""
Week = tuple[tuple[Span, ...], ...]
"""The spans of each day, Monday first; a day without any is closed."""


@dataclass(frozen=True)
class Timetable:
    """Always open, unless it is told otherwise."""

    zone: tzinfo = UTC
    week: Week | None = None
    """None is open at every hour."""
    holidays: frozenset[str] = frozenset()
    """`2026-12-25`, or `12-25` for every year."""

    def is_open(self, moment: datetime) -> bool:
        """Tell whether a moment, which has a time zone, is within the hours and on no holiday."""
        local = moment.astimezone(self.zone)
        day = local.date().isoformat()
        if day in self.holidays or day[5:] in self.holidays:
            return False
        minute = local.hour * 60 + local.minute
        return self.week is None or any(opens <= minute < closes for opens, closes in self.week[local.weekday()])
