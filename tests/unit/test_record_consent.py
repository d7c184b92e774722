"""A Page's `record_consent` is heard before anything is recorded, whoever has the call."""

from pathlib import Path
from typing import Final

import pytest

from pageline import Call
from pageline.testing import Conversation
from shared.calls import state
from shared.errors import HandlerUnusable
from shared.passing import Handler
from shared.settings import Settings
from workers.handlers.voicemail import BEEP, GOODBYE, LEAVE_A_MESSAGE, answer
from workers.media.casting import Casting

CONSENT: Final = BEEP
OPTIONS: Final = {"record_consent": CONSENT}


async def records(call: Call) -> None:
    if call.direction == "user_initiated":
        await call.answer()
    async with call.record():
        await call.play(GOODBYE)


async def twice(call: Call) -> None:
    await records(call)
    async with call.record():
        await call.play(GOODBYE)


async def gives_away(call: Call) -> None:
    await call.answer()
    await call.transfer(only_records)


async def only_records(call: Call) -> None:
    async with call.record():
        await call.play(GOODBYE)


@pytest.mark.parametrize(
    ("handler", "heard"),
    [(records, [CONSENT, GOODBYE]), (twice, [CONSENT, GOODBYE, GOODBYE]), (gives_away, [CONSENT, GOODBYE])],
)
async def test_it_is_heard_once_and_before_the_recording(handler: Handler, heard: list[str], tmp_path: Path) -> None:
    async with Conversation(handler, options=OPTIONS, recordings=tmp_path) as talk:
        assert await talk.ended() == "completed"
    assert talk.heard == heard
    assert talk.recordings


async def test_without_it_nothing_is_announced(tmp_path: Path) -> None:
    async with Conversation(records, recordings=tmp_path) as talk:
        await talk.ended()
    assert talk.heard == [GOODBYE]


async def test_voicemail_has_it_before_the_greeting(tmp_path: Path) -> None:
    async with Conversation(answer, options=OPTIONS, recordings=tmp_path) as talk:
        await talk.ended()
    assert talk.heard == [CONSENT, LEAVE_A_MESSAGE, BEEP, GOODBYE]


def casting(folder: Path, consent: str) -> Casting:
    pages = folder / "pages.toml"
    pages.write_text(
        f"""
[1]
record_consent = "{consent}"
handler = "workers.handlers.voicemail:answer"

[[1.rules]]
callers = ["77"]
handler = "workers.handlers.announce:record"

[2]
handler = "workers.handlers.announce:record"
"""
    )
    return Casting(Settings(pages_file=str(pages)))


@pytest.mark.parametrize(
    ("call", "options"),
    [
        (state.Call(page="1", consumer="5"), OPTIONS),
        (state.Call(page="1", consumer="77"), OPTIONS),
        (state.Call(page="1", consumer="5", handler="workers.handlers.announce:answer"), OPTIONS),
        (state.Call(page="2", consumer="5"), {}),
    ],
)
def test_every_handler_of_the_page_is_told_of_it(tmp_path: Path, call: state.Call, options: dict[str, str]) -> None:
    assert casting(tmp_path, CONSENT).of(call).options == options


def test_a_sound_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(HandlerUnusable, match=r"record_consent in PAGES_FILE: there is no file /.*nowhere\.ogg"):
        casting(tmp_path, "nowhere.ogg")
