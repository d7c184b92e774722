"""A question on the telephone: it falls silent at the first key, and no key that was pressed is ever lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pageline import Call, CallEnded, Frame
from shared.handling import Interrupted, Interruptible
from workers.media.host import KEYPAD_DIGITS, Keypad

SOON_S = 0.02
NEVER_S = 30.0


class Telephone:
    """A holder whose sounds play until they are let go, and whose keys the test presses."""

    def __init__(self) -> None:
        self.keypad = Keypad()
        self.playing = asyncio.Event()
        self.played = asyncio.Event()
        self.cut_off: list[str] = []

    def press(self, keys: str) -> None:
        for key in keys:
            self.keypad.put(key)

    async def next_digit(self) -> str:
        return await self.keypad.take()

    async def play(self, sound: str) -> None:
        if sound == "missing.ogg":
            raise FileNotFoundError(sound)
        self.playing.set()
        try:
            await self.played.wait()
        except asyncio.CancelledError:
            self.cut_off.append(sound)
            raise

    async def hear(self, _rate: int) -> AsyncIterator[Frame]:
        yield Frame(b"")

    async def nothing(self, *_: Any) -> None:
        await asyncio.Event().wait()

    def send(self, frame: Frame) -> None:
        pass

    async def start_recording(self, path: str | None, *, stereo: bool) -> str:
        return path or ""

    answer = reject = hang_up = stop_recording = bridge = send_digits = nothing


@pytest.fixture
async def telephone() -> Telephone:
    return Telephone()


@pytest.fixture
async def call(telephone: Telephone) -> Call:
    return Call(telephone, call_id="c_1", page="1", caller="2", direction="user_initiated", epoch=1)


async def test_the_first_key_stops_the_sound_and_is_the_answer(call: Call, telephone: Telephone) -> None:
    asking = asyncio.create_task(call.ask("menu.ogg", "more.ogg", timeout_s=NEVER_S))
    await telephone.playing.wait()
    telephone.press("7")
    assert await asking == "7"
    assert telephone.cut_off == ["menu.ogg"]


async def test_time_is_counted_from_the_end_of_the_sound(call: Call, telephone: Telephone) -> None:
    asking = asyncio.create_task(call.ask("menu.ogg", timeout_s=SOON_S))
    await telephone.playing.wait()
    assert await asyncio.wait({asking}, timeout=5 * SOON_S) == (set(), {asking})
    telephone.played.set()
    assert await asking == ""
    assert telephone.cut_off == []


@pytest.mark.parametrize(
    ("pressed", "digits", "finish_on", "answer"),
    [
        ("12345", 4, "#", "1234"),
        ("12#45", 4, "#", "12"),
        ("#", 4, "#", ""),
        ("1*", 4, "#*", "1"),
        ("12#4", 4, "", "12#4"),
        ("#", 1, "", "#"),
    ],
)
async def test_as_many_keys_as_asked_for_or_up_to_the_last_one(
    call: Call, telephone: Telephone, pressed: str, digits: int, finish_on: str, answer: str
) -> None:
    telephone.press(pressed)
    assert await call.ask(digits=digits, finish_on=finish_on, timeout_s=NEVER_S) == answer


async def test_who_stops_pressing_has_answered_with_what_there_is(call: Call, telephone: Telephone) -> None:
    telephone.press("12")
    assert await call.ask(digits=4, timeout_s=SOON_S) == "12"


async def test_what_is_pressed_before_a_question_or_after_its_answer_is_for_the_next(
    call: Call, telephone: Telephone
) -> None:
    telephone.press("1234")
    assert await call.ask("menu.ogg", timeout_s=NEVER_S) == "1"
    assert await call.ask("menu.ogg", digits=2, timeout_s=NEVER_S) == "23"
    assert await anext(aiter(call.digits())) == "4"
    assert not telephone.playing.is_set(), "nobody has to hear a question that is answered already"
    assert await call.ask(timeout_s=SOON_S) == ""


async def test_keys_come_as_they_are_pressed_and_none_is_lost_to_a_question_that_timed_out(
    call: Call, telephone: Telephone
) -> None:
    for number in range(20):
        asking = asyncio.create_task(call.ask(timeout_s=SOON_S))
        asyncio.get_running_loop().call_later(SOON_S, telephone.press, str(number % 10))
        assert (await asking or await call.ask(timeout_s=NEVER_S)) == str(number % 10)


async def test_a_key_of_the_turn_in_which_the_handlers_own_patience_ends_is_not_lost(
    call: Call, telephone: Telephone
) -> None:
    for turns in range(6):
        asking = asyncio.create_task(call.ask(timeout_s=NEVER_S))
        for _ in range(3):
            await asyncio.sleep(0)
        telephone.press("7")
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert (await call.ask(timeout_s=SOON_S) if asking.cancelled() else asking.result()) == "7"


async def test_a_sound_that_is_missing_fails_the_question(call: Call) -> None:
    with pytest.raises(FileNotFoundError):
        await call.ask("missing.ogg", timeout_s=NEVER_S)


async def test_the_end_of_the_call_ends_the_question(call: Call, telephone: Telephone) -> None:
    ended: list[CallEnded] = []

    async def handler() -> None:
        try:
            await call.ask("menu.ogg", timeout_s=NEVER_S)
        except CallEnded as over:
            ended.append(over)

    async def run() -> None:
        await Interruptible(handler(), lambda: Interrupted("completed"))

    task = asyncio.create_task(run())
    await telephone.playing.wait()
    task.cancel()
    await task
    assert [over.outcome for over in ended] == ["completed"]
    assert telephone.cut_off == ["menu.ogg"]
    telephone.press("1")
    assert await call.ask(timeout_s=NEVER_S) == "1", "no abandoned question takes keys"


async def test_keys_nobody_asks_for_fill_no_memory(call: Call, telephone: Telephone) -> None:
    telephone.press("1" * 10 * KEYPAD_DIGITS + "2")
    assert await call.ask(digits=1000, timeout_s=SOON_S) == "1" * (KEYPAD_DIGITS - 1) + "2"
