"""Callers on their way through the menus that docs/handlers.md shows."""

import importlib
import re
import sys
import wave
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pageline import Call
from pageline.testing import Conversation
from workers.handlers.guide import guide
from workers.handlers.plan import Action, Menu, Plan
from workers.handlers.plan_file import read_plan
from workers.handlers.voicemail import GOODBYE, LEAVE_A_MESSAGE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "handlers.md").read_text()
SHOWN = DOCUMENT.split("```toml\n# reception.toml\n")[1].partition("```")[0]
A_MONDAY = "2026-03-02T10:00:00+00:00"
A_SUNDAY = "2026-03-01T10:00:00+00:00"

Meet = Callable[[str], Conversation]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TTS_COMMAND", "cat")  # which is never run here
    for sound in set(re.findall(r"\w+\.ogg", SHOWN)):
        with wave.open(str(tmp_path / sound), "wb") as tone:
            tone.setparams((1, 2, 48_000, 0, "NONE", ""))
            tone.writeframes(bytes(96_000))
    (tmp_path / "reception.toml").write_text(SHOWN)
    return tmp_path / "reception.toml"


@pytest.fixture
def meet(file: Path) -> Meet:
    plan = read_plan(file)

    def meet(moment: str) -> Conversation:
        async def answer(call: Call) -> None:
            await guide(call, plan, datetime.fromisoformat(moment))

        return Conversation(answer)

    return meet


def names(talk: Conversation) -> list[str]:
    return [Path(str(sound)).name for sound in talk.heard]


MAIN = ["for_hours.ogg", "for_sales.ogg"]


async def test_keys_lead_through_menus_and_back(meet: Meet) -> None:
    async with meet(A_MONDAY) as talk:
        await talk.hears("for_sales.ogg")
        await talk.press("1")
        await talk.hears("hours.ogg")
        await talk.hears("for_hours.ogg")
        await talk.press("2")
        await talk.hears("sales.ogg")
        await talk.press("0")
        await talk.hears("for_hours.ogg")
        await talk.press("*")
        assert await talk.ended() == "completed"
    assert names(talk) == ["welcome.ogg", *MAIN, "hours.ogg", MAIN[0], "sales.ogg", MAIN[0], "goodbye.ogg"]


async def test_who_knows_the_way_presses_ahead(meet: Meet) -> None:
    async with meet(A_MONDAY) as talk:
        await talk.press("21")
        await talk.hears("sales_greeting.ogg")
    assert names(talk) == ["welcome.ogg", "sales_greeting.ogg"]


async def test_a_key_that_is_not_listed_is_told_and_counts_as_a_try(meet: Meet) -> None:
    async with meet(A_MONDAY) as talk:
        for _ in range(3):
            await talk.hears("for_hours.ogg")
            await talk.press("7")
            await talk.hears("There is no such choice.")
        await talk.hears(LEAVE_A_MESSAGE)
        await talk.hears(GOODBYE)
        assert await talk.ended() == "completed"


async def test_silence_leads_to_the_fallback(meet: Meet) -> None:
    async with meet(A_MONDAY) as talk:
        await talk.hears(LEAVE_A_MESSAGE)
        assert talk.now_s == pytest.approx(1 + 3 * (2 + 5))
    assert names(talk) == ["welcome.ogg", *MAIN * 3, "leave_a_message.ogg"]


async def test_a_menu_without_a_fallback_hangs_up(meet: Meet) -> None:
    async with meet(A_MONDAY) as talk:
        await talk.press("2")
        assert await talk.ended() == "completed"
    assert names(talk) == ["welcome.ogg", *["sales.ogg"] * 3]


async def test_who_calls_when_it_is_closed_may_leave_a_message(meet: Meet) -> None:
    async with meet(A_SUNDAY) as talk:
        await talk.hears("closed.ogg")
        await talk.hears(LEAVE_A_MESSAGE)
        await talk.hears(GOODBYE)
    assert len(talk.recordings) == 1


async def test_a_caller_who_goes_ends_it(meet: Meet) -> None:
    async with meet(A_MONDAY) as talk:
        await talk.hears("for_hours.ogg")
        await talk.hang_up()
        assert await talk.ended() == "completed"


async def test_menus_that_fall_back_on_each_other_come_to_an_end() -> None:
    menus = {"a": Menu((GOODBYE,), {}, fallback=Action(menu="b")), "b": Menu((GOODBYE,), {}, fallback=Action())}
    plan = Plan(Action(menu="a"), menus=menus)

    async def answer(call: Call) -> None:
        await guide(call, plan, datetime.fromisoformat(A_MONDAY))

    async with Conversation(answer) as talk:
        await talk.ended()
    assert talk.heard == [GOODBYE] * 5 * 3


async def test_the_handler_reads_its_file_once_and_answers_by_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVR_FILE", str(file))
    try:
        handler = importlib.import_module("workers.handlers.ivr")
        async with Conversation(handler.answer) as talk:
            await talk.wait(0.5)
        assert names(talk)[0] in ("welcome.ogg", "closed.ogg")
    finally:
        sys.modules.pop("workers.handlers.ivr", None)


def test_without_a_file_the_handler_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IVR_FILE", raising=False)
    sys.modules.pop("workers.handlers.ivr", None)
    handler = importlib.import_module("workers.handlers.ivr")
    with pytest.raises(ValueError, match=r"^IVR_FILE is not set: write the path of a TOML file"):
        handler.check_options({})
    sys.modules.pop("workers.handlers.ivr", None)


async def test_a_page_has_menus_of_its_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVR_FILE", str(file.with_name("of_another_page.toml")))
    sys.modules.pop("workers.handlers.ivr", None)
    handler = importlib.import_module("workers.handlers.ivr")
    options = {"ivr_file": str(file)}
    handler.check_options(options)
    async with Conversation(handler.answer, options=options) as talk:
        await talk.wait(0.5)
    assert names(talk)[0] in ("welcome.ogg", "closed.ogg")
    sys.modules.pop("workers.handlers.ivr", None)
