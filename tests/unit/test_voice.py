"""Texts are spoken by a program of the machine's, each once; what goes wrong with it is told with the remedy."""

import asyncio
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pageline import Call, SpeechFailed, Spoken
from pageline.testing import Conversation
from shared.errors import BadSetting
from shared.settings import load
from workers.media.voice import TEXTS_KEPT, Voice

SPEAKER = """
import sys, wave
text = sys.stdin.buffer.read().decode()
open("said", "a").write(text + "\\n")
with wave.open(sys.stdout.buffer, "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(640 * len(text)))  # 20 ms for each character
"""


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voice:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speaker.py").write_text(SPEAKER)
    voice = Voice()
    voice.use((sys.executable, "speaker.py"))
    return voice


def said() -> list[str]:
    return Path("said").read_text().splitlines()


async def test_a_text_that_many_calls_say_at_once_is_spoken_once(voice: Voice) -> None:
    spoken = await asyncio.gather(*(voice.say("Grüß Gott") for _ in range(20)))
    assert len(spoken[0]) == len("Grüß Gott")
    assert len({id(packets) for packets in spoken}) == 1
    await voice.say("Grüß Gott")
    assert said() == ["Grüß Gott"]


async def test_a_caller_who_goes_takes_no_text_from_the_others(voice: Voice) -> None:
    going, staying = (asyncio.create_task(voice.say("Hello")) for _ in range(2))
    await asyncio.sleep(0)
    going.cancel()
    assert len(await staying) == 5
    assert going.cancelled()


async def test_texts_that_nobody_says_any_more_are_forgotten(voice: Voice) -> None:
    await voice.say("Hello")
    for number in range(TEXTS_KEPT):
        await voice.say(" " * (number + 1))  # nothing to say, which needs no program
    await voice.say("Hello")
    assert said() == ["Hello", "Hello"]


async def test_without_a_program_the_remedy_is_told() -> None:
    with pytest.raises(SpeechFailed, match=r"^TTS_COMMAND is not set\. .*TTS_COMMAND='espeak-ng --stdin --stdout'"):
        await Voice().say("Hello")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import sys; sys.exit('no such voice')", r"failed with status 1: no such voice$"),
        ("print('Hello')", r"wrote no sound to its standard output, but 6 bytes"),
        ("pass", r"wrote no sound to its standard output, but 0 bytes"),
        ("import time; time.sleep(60)", r"said nothing within 2 s\. Does it read"),
    ],
)
async def test_what_went_wrong_is_told_and_the_text_is_tried_again(program: str, told: str) -> None:
    voice = Voice(within_s=10 if "sleep" not in program else 2)
    voice.use((sys.executable, "-c", program))
    with pytest.raises(SpeechFailed, match=f"^TTS_COMMAND: {re.escape(sys.executable)} {told}") as error:
        await voice.say("a secret")
    assert "secret" not in str(error.value)
    voice.use((sys.executable, "-c", SPEAKER.replace('open("said", "a").write', "len")))
    assert len(await voice.say("a secret")) == 8


async def test_a_program_that_has_gone_meanwhile_is_told() -> None:
    voice = Voice()
    voice.use(("no-such-program",))
    with pytest.raises(SpeechFailed, match="no-such-program cannot be run: No such file"):
        await voice.say("Hello")


@pytest.mark.parametrize("command", ["espeak-ng --stdin --stdout", "flite -o /dev/stdout"])
async def test_the_programs_that_are_recommended_speak(command: str) -> None:
    if shutil.which(command.partition(" ")[0]) is None:
        pytest.skip(f"{command.partition(' ')[0]} is not installed")
    voice = Voice()
    voice.use(load({"TTS_COMMAND": command}).tts_argv)
    packets = await voice.say("Good morning, and welcome.")
    assert 1 < len(packets) * 0.02 < 5
    assert sum(map(len, packets)) > 1000


def test_the_setting_is_a_command_line_and_what_cannot_run_is_refused() -> None:
    assert load({}).tts_argv == ()
    assert load({"TTS_COMMAND": f"{shlex.quote(sys.executable)} -c 'a b'"}).tts_argv == (sys.executable, "-c", "a b")
    with pytest.raises(BadSetting, match=r"^TTS_COMMAND=no-such-program -x: there is no program no-such-program\."):
        _ = load({"TTS_COMMAND": "no-such-program -x"}).tts_argv
    with pytest.raises(BadSetting, match=r"^TTS_COMMAND=espeak-ng ' is not usable: No closing quotation"):
        _ = load({"TTS_COMMAND": "espeak-ng '"}).tts_argv


async def test_a_conversation_hears_texts_without_a_program() -> None:
    async def answer(call: Call) -> None:
        await call.answer()
        await call.say("Good morning.")
        if await call.ask(Spoken("Press one."), timeout_s=5) == "1":
            await call.say("Thank you.")

    async with Conversation(answer) as talk:
        await talk.hears("Press one.")
        await talk.press("1")
        await talk.ended()
    assert talk.heard == ["Good morning.", "Press one.", "Thank you."]
