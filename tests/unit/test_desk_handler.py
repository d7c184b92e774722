"""The desk's handler in conversations: waiting, talking, and what is done for who waits in vain."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pageline import Call
from pageline.testing import Conversation
from shared.attending import Wish
from workers.handlers import desk, environment, voicemail
from workers.handlers.desk import (
    CALL_BACK_PROMISED,
    MUSIC,
    NUMBERS,
    PRESS_FOR_CALL_BACK,
    TERMS,
    YOU_ARE_NUMBER,
    attend,
)


class Reception:
    """The handler on terms of the test's."""

    def __init__(self, **terms: Any) -> None:
        self.terms = replace(TERMS, **{"queue": "sales", "overflow_s": 100.0, "announce_s": 30.0, **terms})

    async def answer(self, call: Call) -> None:
        await call.answer()
        await attend(call, self.terms)


async def test_who_waits_hears_music_and_their_place_until_an_agent_takes_the_call() -> None:
    async with Conversation(Reception().answer, staffed=True) as talk:
        await talk.staff(ahead=1)
        await talk.hears(MUSIC)
        await talk.hears(YOU_ARE_NUMBER)
        assert talk.now_s >= 30
        await talk.hears(NUMBERS[1])
        await talk.hears(MUSIC)
        await talk.agent_takes("ada")
        assert talk.talking is not None
        assert talk.talking.name == "ada"
        heard = len(talk.heard)
        await talk.wait(600)
        assert len(talk.heard) == heard, "neither music nor a place any more"
        await talk.agent_parts("hung_up")
        assert await talk.ended() == "completed"
    assert talk.queued == [Wish("sales")]


async def test_whose_agent_is_lost_goes_ahead_of_all_others() -> None:
    async with Conversation(Reception().answer, staffed=True) as talk:
        await talk.agent_takes()
        await talk.agent_parts("lost")
        await talk.hears(MUSIC)
        await talk.agent_takes("bob")
        assert talk.talking is not None
        await talk.agent_parts("hung_up")
        assert await talk.ended() == "completed"
    assert talk.queued == [Wish("sales"), Wish("sales", ahead=True)]


async def test_a_transfer_waits_for_the_colleague_and_then_for_anybody_of_the_queue() -> None:
    async with Conversation(Reception().answer, staffed=True) as talk:
        await talk.agent_takes()
        await talk.agent_parts("transferred", agent="bob")
        await talk.wait(101)
        await talk.agent_takes("cat")
        await talk.agent_parts("transferred", queue="support")
        await talk.agent_takes("dan")
        await talk.hang_up()
        assert await talk.ended() == "completed"
    assert talk.queued == [
        Wish("sales"),
        Wish("sales", "bob"),
        Wish("sales", ahead=True),
        Wish("support"),
    ]


async def test_where_nobody_is_at_the_desk_a_message_is_taken_at_once(tmp_path: Path) -> None:
    async with Conversation(Reception().answer, recordings=tmp_path) as talk:
        await talk.hears(voicemail.LEAVE_A_MESSAGE)
        await talk.hears(voicemail.BEEP)
        await talk.speak(2)
        assert await talk.ended() == "completed"
    assert talk.now_s < 60
    assert len(talk.recordings) == 1


async def test_who_waits_in_vain_leaves_a_message_in_the_end() -> None:
    async with Conversation(Reception().answer, staffed=True) as talk:
        await talk.wait(99)
        assert talk.recordings == []
        await talk.hears(voicemail.LEAVE_A_MESSAGE, within_s=15)
        await talk.hang_up()


async def test_when_the_last_agent_leaves_the_desk_nobody_waits_on() -> None:
    async with Conversation(Reception().answer, staffed=True) as talk:
        await talk.wait(10)
        await talk.staff(staffed=False)
        await talk.hears(voicemail.LEAVE_A_MESSAGE, within_s=1)


async def test_who_presses_one_is_called_back_and_comes_first_then() -> None:
    async with Conversation(Reception(overflow="callback").answer, page="2", caller="1") as talk:
        await talk.hears(PRESS_FOR_CALL_BACK)
        await talk.press("1")
        await talk.hears(CALL_BACK_PROMISED)
        assert await talk.ended() == "completed"
    (placed,) = talk.placed
    assert (placed.page, placed.psid, placed.ask_permission) == ("2", "1", True)
    assert placed.handler == "workers.handlers.desk:call_back"
    async with Conversation(desk.call_back, direction="business_initiated", staffed=True) as back:
        await back.agent_takes()
        assert back.talking is not None
    assert back.queued == [Wish(TERMS.queue, ahead=True)]


async def test_who_presses_nothing_leaves_a_message() -> None:
    async with Conversation(Reception(overflow="callback").answer) as talk:
        await talk.hears(PRESS_FOR_CALL_BACK)
        await talk.hears(voicemail.LEAVE_A_MESSAGE)
    assert talk.placed == []


async def test_a_conversation_without_an_agent_cannot_be_parted() -> None:
    async with Conversation(Reception().answer, staffed=True) as talk:
        with pytest.raises(AssertionError, match="no agent talks"):
            await talk.agent_parts()


def test_settings_that_cannot_be_used_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert environment.choice("DESK_OVERFLOW", "voicemail", "callback") == "voicemail"
    assert environment.sound("DESK_MUSIC", MUSIC) == MUSIC
    monkeypatch.setenv("DESK_OVERFLOW", "email")
    with pytest.raises(ValueError, match=r"^DESK_OVERFLOW=email is not usable: write voicemail or callback"):
        environment.choice("DESK_OVERFLOW", "voicemail", "callback")
    monkeypatch.setenv("DESK_MUSIC", str(tmp_path / "tune.ogg"))
    with pytest.raises(ValueError, match=r"^DESK_MUSIC=.*tune.ogg is not usable: there is no file /"):
        environment.sound("DESK_MUSIC", MUSIC)
