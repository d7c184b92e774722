"""Hours and holidays: one answer, whoever asks; the files that they are read from have tests of their own."""

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pageline import Timetable
from shared.pages import read_pages
from workers.handlers.plan_file import read_plan

HOURS = 'timezone = "America/New_York"\nmonday = "09:00-17:00"\nsunday = "00:00-23:59"\n'
HOLIDAYS = 'holidays = ["12-25", "01-05"]\n'


def test_a_page_s_rules_and_its_menus_open_and_close_in_the_same_minutes(tmp_path: Path) -> None:
    (tmp_path / "pages.toml").write_text(f"[1]\n{HOLIDAYS}[1.hours]\n{HOURS}")
    zone, days = HOURS.split("\n", 1)
    menus = f"{zone}\n{HOLIDAYS}open.hang_up = true\nclosed.hang_up = true\n[hours]\n{days}"
    (tmp_path / "menus.toml").write_text(menus)
    of_page, of_menus = read_pages(tmp_path / "pages.toml")["1"].times, read_plan(tmp_path / "menus.toml").times
    assert of_page == of_menus
    # Sunday the 4th, Monday the 5th, which is a holiday, to Tuesday the 13th; New York is five hours behind
    quarters = [datetime(2026, 1, 4, 5, tzinfo=UTC) + timedelta(minutes=15 * count) for count in range(96 * 9)]
    assert sum(of_page.is_open(quarter) for quarter in quarters) == 96 + 96 + 32


@pytest.mark.parametrize(("zone", "is_open"), [(UTC, False), (ZoneInfo("Africa/Lagos"), True)])
def test_a_holiday_without_hours_is_a_day_of_the_time_zone(zone: tzinfo, is_open: bool) -> None:
    times = Timetable(zone, holidays=frozenset({"12-25"}))
    assert times.is_open(datetime.fromisoformat("2026-12-25T23:30:00+00:00")) is is_open
    assert times.is_open(datetime.fromisoformat("2026-12-24T12:00:00+00:00"))


def test_holidays_of_a_page_without_hours_are_days_of_utc(tmp_path: Path) -> None:
    (tmp_path / "pages.toml").write_text('[1]\nholidays = ["12-25"]\n')
    times = read_pages(tmp_path / "pages.toml")["1"].times
    assert not times.is_open(datetime.fromisoformat("2026-12-26T00:30:00+01:00"))
    assert times.is_open(datetime.fromisoformat("2026-12-26T00:00:00+00:00"))
