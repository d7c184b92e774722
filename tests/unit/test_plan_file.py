"""A file of menus: what is read from it, and how each mistake in it is told."""

import re
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pageline import Spoken
from workers.handlers.desk import MUSIC
from workers.handlers.plan import Action, Plan
from workers.handlers.plan_file import read_plan
from workers.handlers.toml_lines import TomlLines

Read = Callable[[str], Plan]

TIMED = """\
timezone = "Africa/Lagos"
holidays = [2026-12-24, "12-25"]
open = { menu = "main" }
closed = { hang_up = true }
hours.thursday = "09:00-17:00"
hours.friday = ["09:00-12:00", "13:00-24:00"]
"""
MENU = """\
[menus.main]
prompt = "main.ogg"
keys.1 = { hang_up = true }
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    monkeypatch.setenv("TTS_COMMAND", "cat")

    def read(text: str) -> Plan:
        for sound in re.findall(r"\w+\.ogg", text):
            if sound == "broken.ogg":
                (tmp_path / sound).write_text("no sound")
            elif sound != "missing.ogg":
                shutil.copy(MUSIC, tmp_path / sound)
        (tmp_path / "reception.toml").write_text(text)
        return read_plan(tmp_path / "reception.toml")

    return read


def test_a_file_says_what_callers_meet(read: Read, tmp_path: Path) -> None:
    plan = read(
        'open = { play = ["welcome.ogg", { say = "News." }], menu = "main" }\n'
        '[menus.main]\nprompt = "main.ogg"\ntimeout_seconds = 2.5\ntries = 1\n'
        'keys."*" = { voicemail = "greeting.ogg" }\nkeys.0 = { voicemail = true }\n'
    )
    assert plan.open == Action((f"{tmp_path}/welcome.ogg", Spoken("News.")), menu="main")
    menu = plan.menus["main"]
    assert (menu.prompt, menu.timeout_s, menu.tries) == ((f"{tmp_path}/main.ogg",), 2.5, 1)
    assert menu.keys == {"*": Action(voicemail=f"{tmp_path}/greeting.ogg"), "0": Action(voicemail="")}
    assert menu.fallback == Action(hang_up=True)
    assert plan.is_open(datetime.fromisoformat("2026-12-25T03:00:00+00:00")), "without hours it always is"


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-05T07:59:59+00:00", False),
        ("2026-03-05T08:00:00+00:00", True),  # a Thursday; Lagos is an hour ahead
        ("2026-03-05T15:59:59+00:00", True),
        ("2026-03-05T16:00:00+00:00", False),
        ("2026-03-06T11:30:00+00:00", False),  # between the hours of a Friday
        ("2026-03-06T22:59:00+00:00", True),
        ("2026-03-06T23:00:00+00:00", False),  # Saturday there
        ("2026-03-05T03:30:00-05:00", True),
        ("2026-12-24T10:00:00+00:00", False),  # a Thursday that is a holiday
        ("2027-12-24T10:00:00+00:00", True),  # a Friday; that holiday was once
        ("2031-12-25T10:00:00+00:00", False),  # a Thursday; this one is every year
    ],
)
def test_hours_and_holidays_are_those_of_the_time_zone(read: Read, moment: str, is_open: bool) -> None:
    plan = read(TIMED + MENU)
    assert plan.is_open(datetime.fromisoformat(moment)) is is_open
    assert plan.at(datetime.fromisoformat(moment)) == (plan.open if is_open else plan.closed)


def test_summer_time_moves_the_hours(read: Read) -> None:
    plan = read(TIMED.replace("Africa/Lagos", "Europe/Berlin") + MENU)
    assert plan.is_open(datetime.fromisoformat("2026-07-02T07:00:00+00:00"))
    assert not plan.is_open(datetime.fromisoformat("2026-01-08T07:00:00+00:00"))


OPEN = 'open = { menu = "main" }\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('open = { menu = "sale" }\n' + MENU, "line 1: open.menu: there is no menu 'sale'; those of the file: main"),
        (OPEN + "\n# a comment\n\nopne = 1\n" + MENU, "line 5: opne: there is no such key here; there are timezone,"),
        (MENU, "line 1: `open` is missing"),
        (OPEN, "line 1: open.menu: there is no menu 'main'; those of the file: none"),
        (OPEN + "[menus.main]\nkeys.1 = {hang_up = true}\n", "line 2: menus.main: `prompt` is missing"),
        (OPEN + '[menus.main]\nprompt = "a.ogg"\n', "line 2: menus.main: `keys` is missing"),
        (OPEN + MENU + "keys.12 = {hang_up=true}\n", "line 5: menus.main.keys.12: no telephone has this key"),
        (OPEN + MENU + "keys.2 = {}\n", "line 5: menus.main.keys.2: nothing is done: write play, menu,"),
        (OPEN + MENU + "keys.2 = 7\n", "line 5: menus.main.keys.2: 7 is no table"),
        (
            OPEN + MENU + 'keys.2 = { menu = "main", hang_up = true }\n',
            "line 5: menus.main.keys.2: one of menu and hang_up, not both",
        ),
        (OPEN + MENU + "keys.2 = { hang_up = false }\n", "line 5: menus.main.keys.2.hang_up: write true"),
        (OPEN + MENU + "keys.2 = { voicemail = 1 }\n", "keys.2.voicemail: write true, or a greeting's path"),
        (
            OPEN + MENU + 'unknown = [\n  "main.ogg",\n  "missing.ogg",\n]\n',
            "line 5: menus.main.unknown: there is no file",
        ),
        (OPEN + MENU + 'unknown = "broken.ogg"\n', "broken.ogg is no sound that can be played"),
        (OPEN + MENU + "unknown = 3\n", "line 5: menus.main.unknown: 3 is no sound: write a path"),
        (
            OPEN + MENU + "unknown = { said = 'no' }\n",
            "line 5: menus.main.unknown: {'said': 'no'} is no sound",
        ),
        (OPEN + MENU + "tries = 2.5\n", "line 5: menus.main.tries: 2.5 is no whole number from 1 to 10"),
        (OPEN + MENU + "tries = true\n", "line 5: menus.main.tries: True is no whole number"),
        (OPEN + MENU + "timeout_seconds = 0\n", "line 5: menus.main.timeout_seconds: 0 is no number from 1 to 60"),
        (OPEN + "[hours]\nmonday = '09:00-17:00'\n" + MENU, "line 1: `timezone` is missing, which `hours` needs"),
        (OPEN + "holidays = []\n" + MENU, "line 1: `closed` is missing, which `holidays` needs"),
        (OPEN + "closed = {hang_up = true}\n" + MENU, "line 2: closed: it is never closed"),
        (TIMED.replace("Lagos", "Lagoon") + MENU, "line 1: timezone: 'Africa/Lagoon' is no time zone"),
        (TIMED.replace("17:00", "17") + MENU, "line 5: hours.thursday: '09:00-17' is no span of time"),
        (TIMED.replace("17:00", "08:00") + MENU, "line 5: hours.thursday: '09:00-08:00': it closes after it opens"),
        (TIMED.replace("24:00", "24:01") + MENU, "line 6: hours.friday: '13:00-24:01': it closes"),
        (TIMED.replace("friday", "fryday") + MENU, "line 6: hours.fryday: there is no such key here; there are monday"),
        (TIMED.replace('"12-25"', '"02-30"') + MENU, "line 2: holidays: '02-30' is no day"),
        (TIMED.replace("2026-12-24", "2026-12-24T10:00:00") + MENU, "line 2: holidays: datetime"),
        (TIMED.replace("[2026", "1 #[2026") + MENU, "line 2: holidays: 1 is no list of days"),
        (OPEN + "menus = 3\n", "line 2: menus: 3 is no table"),
        (OPEN + MENU + "tries = \n", "at line 5, column 9"),
    ],
)
def test_a_mistake_is_told_with_its_line(read: Read, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))}/reception.toml is not usable: ?") as error:
        read(text)
    assert told in str(error.value)


def test_a_text_that_nobody_can_speak_is_a_mistake(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TTS_COMMAND")
    with pytest.raises(ValueError, match=r"line 1: open.play: a text needs .* TTS_COMMAND is not set"):
        read('open = { play = ["main.ogg", { say = "Hello." }] }\n')


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(read: Read) -> None:
    with pytest.raises(ValueError, match="is not usable") as error:
        read(OPEN + MENU + 'tries = 0\nfallback = { menu = "moon" }\nkeys.x = { hang_up = true }\n')
    assert re.findall(r"line (\d+)", str(error.value)) == ["5", "6", "7"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing.toml cannot be read: No such file"):
        read_plan(tmp_path / "missing.toml")


def test_keys_are_found_in_every_spelling_of_them() -> None:
    lines = TomlLines(
        'a.b.c = 1\n\n[x."y z"]\nlist = [\n  1, # [x.w]\n  2,\n]\ntext = """\n[x.v]\n"""\n[[many]]\none = 1\n[x.v]\n'
    )
    found = {
        ".".join(where): lines.line_of(where)
        for where in [("a",), ("a", "b", "c"), ("x", "y z"), ("x", "y z", "list"), ("x", "y z", "text"), ("many",)]
    }
    assert found == {"a": 1, "a.b.c": 1, "x.y z": 3, "x.y z.list": 4, "x.y z.text": 8, "many": 11}
    assert lines.line_of(("x", "v")) == 13
    assert lines.line_of(("x", "v", "absent", "deeper")) == 13
    assert lines.line_of(("absent",)) == 1
