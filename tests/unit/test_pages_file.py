"""PAGES_FILE: what a table may say of call settings, and errors that name the file, the table and the key."""

from pathlib import Path

import pytest

from shared.errors import BadSetting
from shared.meta.call_settings import CallSettings, Day, Hours
from shared.pages import Page, read_pages

PAGE = "106378625516323"


def read(folder: Path, text: str) -> Page:
    path = folder / "pages.toml"
    path.write_text(text)
    return read_pages(path)[PAGE]


def test_everything_is_optional(tmp_path: Path) -> None:
    assert read(tmp_path, f"[{PAGE}]\n").call_settings == CallSettings()


@pytest.mark.meta("7.1-audio", "7.1-icon", "7.2-hours")
def test_a_table_says_what_is_wanted(tmp_path: Path) -> None:
    page = read(
        tmp_path,
        f"""
        [{PAGE}]
        audio = true
        video = false
        icon = true
        routing = "partners"
        [{PAGE}.hours]
        timezone = "Africa/Lagos"
        monday = "09:00-17:00"
        sunday = "1000 - 1200"
        """,
    )
    hours = Hours("Africa/Lagos", (Day(0, "0900", "1700"), Day(6, "1000", "1200")))
    assert page.call_settings == CallSettings(True, False, True, hours, "PARTNERS")


@pytest.mark.meta("7.2-empty")
def test_hours_without_a_day_are_closed_all_week(tmp_path: Path) -> None:
    page = read(tmp_path, f'[{PAGE}.hours]\ntimezone = "UTC"\n')
    assert page.call_settings.hours == Hours("UTC")


@pytest.mark.meta("7.2-timezone", "7.2-time", "7.2-close-first", "7.2-duplicate", "7.2-holidays")
@pytest.mark.parametrize(
    ("table", "key", "why"),
    [
        ('icon = "yes"', "icon", "expected `bool"),
        ('routing = "us"', "routing", "invalid enum value 'us'"),
        ("ring = true", "", "unknown field `ring`"),
        ("hours = 9", "hours", "expected `object"),
        ('hours = { monday = "09:00-17:00" }', "hours", "missing required field `timezone`"),
        ('hours = { timezone = "Lagos" }', "hours.timezone", "IANA"),
        ('hours = { timezone = "../etc/passwd" }', "hours.timezone", "IANA"),
        ("hours = { timezone = 1 }", "hours.timezone", "quotes"),
        ('hours = { timezone = "UTC", mon = "09:00-17:00" }', "hours", "unknown field `mon`"),
        ('hours = { timezone = "UTC", monday = "9-17" }', "hours.monday", "09:00-17:00"),
        ('hours = { timezone = "UTC", friday = "09:00-12:00,13:00-17:00" }', "hours.friday", "one for a day"),
        ('hours = { timezone = "UTC", friday = ["09:00-12:00"] }', "hours.friday", "quotes"),
        ('hours = { timezone = "UTC", sunday = "17:00-09:00" }', "hours.sunday", "closes before it opens"),
        ('hours = { timezone = "UTC", sunday = "09:00-09:00" }', "hours.sunday", "closes before it opens"),
        ('hours = { timezone = "UTC", sunday = "09:00-24:00" }', "hours.sunday", "23:59"),
        ('hours = { timezone = "UTC", sunday = "09:60-10:00" }', "hours.sunday", "23:59"),
    ],
)
def test_an_error_names_file_table_and_key(tmp_path: Path, table: str, key: str, why: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read(tmp_path, f"[{PAGE}]\n{table}\n")
    message = str(caught.value)
    where = f"[{PAGE}] {key}:" if key else f"[{PAGE}]:"
    assert f"PAGES_FILE={tmp_path / 'pages.toml'} is not usable: {where}" in message
    assert why in message


@pytest.mark.meta("7.2-duplicate")
def test_a_day_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Meta takes one interval a day."""
    with pytest.raises(BadSetting, match="line 4"):
        read(tmp_path, f'[{PAGE}.hours]\ntimezone = "UTC"\nmonday = "09:00-12:00"\nmonday = "13:00-17:00"\n')


def test_a_value_outside_of_any_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"\[handler\]"):
        read(tmp_path, 'handler = "shop:answer"\n')
