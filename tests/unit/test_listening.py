"""When a consumer speaks, and when no more."""

import asyncio
import math
from array import array

import pytest

from pageline import Call, Frame
from pageline.testing import Conversation
from shared.listening import QUIET_DB


def hum(level_db: float, seconds: float) -> bytes:
    """Return a tone at 48 kHz whose root mean square is so loud."""
    peak = 32768 * 10 ** (level_db / 20) * math.sqrt(2)
    return array("h", (round(peak * math.sin(n / 20)) for n in range(round(48_000 * seconds)))).tobytes()


class Listener:
    """A handler that waits for one thing, and notes what it was told and when."""

    def __init__(self, word: str, *arguments: float, timeout_s: float = 30.0) -> None:
        self.word, self.arguments, self.timeout_s = word, arguments, timeout_s
        self.told: bool | None = None
        self.at_s = 0.0

    async def answer(self, call: Call) -> None:
        await call.answer()
        self.told = await getattr(call, self.word)(*self.arguments, timeout_s=self.timeout_s)
        self.at_s = asyncio.get_running_loop().time()
        await call.hang_up()


@pytest.mark.parametrize("level_db", [-60.0, -20.0, -3.1])
@pytest.mark.parametrize("rate", [48000, 16000])
def test_a_level_is_that_of_full_scale(level_db: float, rate: int) -> None:
    pcm = hum(level_db, 0.02)
    frame = Frame(pcm, 48000) if rate == 48000 else Frame(array("h", pcm)[::3].tobytes(), 16000)
    assert frame.level_db == pytest.approx(level_db, abs=0.5)


def test_nothing_has_a_level_too() -> None:
    assert Frame(bytes(1920)).level_db == Frame(b"").level_db == -96.0
    assert Frame(b"\x00\x80" * 960).level_db == 0.0


async def test_speech_is_told_as_it_begins() -> None:
    listener = Listener("speech")
    async with Conversation(listener.answer) as talk:
        await talk.wait(2)
        await talk.speak(1)
    assert listener.told is True
    assert listener.at_s == pytest.approx(2.06, abs=0.03)


@pytest.mark.parametrize("said", [hum(QUIET_DB - 3, 1), hum(-20, 0.04), b""], ids=["murmur", "click", "nothing"])
async def test_what_is_quiet_or_short_is_no_speech(said: bytes) -> None:
    listener = Listener("speech", timeout_s=5)
    async with Conversation(listener.answer) as talk:
        await talk.speak(0, said)
        await talk.ended()
    assert listener.told is False
    assert listener.at_s == pytest.approx(5)


async def test_silence_is_counted_from_the_last_word() -> None:
    listener = Listener("silence", 3)
    async with Conversation(listener.answer) as talk:
        await talk.speak(1)
        await talk.wait(2.8)
        await talk.speak(1)
        await talk.ended()
    assert listener.told is True
    assert listener.at_s == pytest.approx(7.8, abs=0.05)


async def test_who_never_falls_silent_is_waited_for_no_longer_than_asked() -> None:
    listener = Listener("silence", 3, timeout_s=4)
    async with Conversation(listener.answer) as talk:
        await talk.speak(10)
    assert listener.told is False
    assert listener.at_s == pytest.approx(4)


async def test_who_says_nothing_is_silent_at_once() -> None:
    listener = Listener("silence", 3)
    async with Conversation(listener.answer) as talk:
        await talk.ended()
    assert (listener.told, listener.at_s) == (True, pytest.approx(3))
