"""`pageline.testing`: a handler on virtual time, with a consumer whom the test plays."""

import asyncio
import time
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path

import av
import pytest

from pageline import AnswerRefused, Call, CallEnded, Frame, HandlerUnusable, Image, Room, line
from pageline.testing import Conversation

SECONDS = 1.5


@pytest.fixture(autouse=True)
def tone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second and a half to play, in the folder in which the handler works."""
    monkeypatch.chdir(tmp_path)
    with wave.open("tone.wav", "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(bytes(round(48_000 * SECONDS) * 2))


async def menu(call: Call) -> None:
    await call.answer()
    for _ in range(3):
        if await call.ask("tone.wav", timeout_s=600) == "1":
            await call.play("tone.wav", "tone.wav")
            return


async def test_prompts_are_heard_in_order_and_a_key_falls_into_them() -> None:
    async with Conversation(menu) as talk:
        await talk.hears("tone.wav")
        await talk.wait(1)
        await talk.press("1")
        await talk.hears("tone.wav")
        assert talk.now_s == pytest.approx(1)
        assert await talk.ended() == "completed"
        assert talk.now_s == pytest.approx(1 + 2 * SECONDS)
    assert talk.heard == ["tone.wav"] * 3


async def test_half_an_hour_of_patience_takes_no_time() -> None:
    began_s = time.monotonic()
    async with Conversation(menu) as talk:
        assert await talk.ended() == "completed"
    assert talk.now_s == pytest.approx(3 * (600 + SECONDS))
    assert time.monotonic() - began_s < 10


async def test_time_stands_still_unless_somebody_waits() -> None:
    async with Conversation(menu) as talk:
        await asyncio.sleep(0.05)
        assert talk.now_s == 0


async def test_what_is_not_played_is_told_with_what_was() -> None:
    async with Conversation(menu) as talk:
        with pytest.raises(AssertionError, match=r"'other.wav' was not played within 9 s; .*tone.wav"):
            await talk.hears("other.wav", within_s=9)
        with pytest.raises(AssertionError, match="goes on after 2 s"):
            await talk.ended(within_s=2)


async def test_who_hangs_up_midway_ends_the_handler_and_its_finally_is_run() -> None:
    seen: list[str] = []

    async def handler(call: Call) -> None:
        await call.answer()
        try:
            await call.ask("tone.wav", timeout_s=60)
        except CallEnded as ended:
            seen.append(ended.outcome)
            raise
        finally:
            await call.message("We will call you back.")
            await asyncio.sleep(4)  # of five
            seen.append("finally")

    async with Conversation(handler, caller="psid", page="106") as talk:
        await talk.wait(1)
        await talk.hang_up()
        assert await talk.ended() == "completed"
    assert seen == ["completed", "finally"]
    assert [(one.page, one.psid, one.content["text"]) for one in talk.messages] == [
        ("106", "psid", "We will call you back.")
    ]


async def test_a_finally_gets_five_seconds_as_it_does_on_the_line() -> None:
    async def handler(call: Call) -> None:
        await call.answer()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(60)  # virtual; it is cut off

    async with Conversation(handler) as talk:
        await talk.hang_up()
        await talk.ended(within_s=5.1)


async def test_leaving_the_block_hangs_up() -> None:
    async with Conversation(menu) as talk:
        await talk.hears("tone.wav")
    assert talk.outcome == "completed"


async def test_what_the_handler_raises_is_raised_by_whatever_the_test_waits_for() -> None:
    async def handler(call: Call) -> None:
        await call.answer()
        await asyncio.sleep(5)  # virtual
        raise LookupError("the receptionist stumbled")

    async with Conversation(handler) as talk:
        await talk.wait(4)
        with pytest.raises(LookupError, match="stumbled"):
            await talk.hears("tone.wav")
        assert talk.outcome == "completed"


async def test_what_the_handler_raises_at_its_end_is_raised_where_the_block_is_left() -> None:
    async def handler(call: Call) -> None:
        await call.answer()
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("the receptionist stumbled on the way out")

    with pytest.raises(LookupError, match="on the way out"):
        async with Conversation(handler) as talk:
            await talk.wait(4)


async def test_a_refused_answer_is_raised_and_the_call_has_failed() -> None:
    async def handler(call: Call) -> None:
        try:
            await call.answer()
        except AnswerRefused as refused:
            await call.message(f"Graph says {refused.code}")
            raise

    refused = AnswerRefused("no", code=100)
    with pytest.raises(AnswerRefused):
        async with Conversation(handler, refuse=refused) as talk:
            await talk.ended()
    assert talk.outcome == "failed"
    assert talk.messages[0].content == {"text": "Graph says 100"}


async def _reject(call: Call) -> None:
    await call.reject("closed")


async def _hang_up(call: Call) -> None:
    await call.answer()
    await call.hang_up()
    raise AssertionError("hang_up returned")


async def _return(_call: Call) -> None:
    pass


@pytest.mark.parametrize(
    ("handler", "outcome"), [(_reject, "declined"), (_hang_up, "completed"), (_return, "declined")]
)
async def test_a_handler_may_end_the_call(handler: Callable[[Call], Awaitable[None]], outcome: str) -> None:
    async def answer(call: Call) -> None:
        await handler(call)

    async with Conversation(answer) as talk:
        assert await talk.ended() == outcome


async def test_who_gives_up_before_the_answer_has_cancelled() -> None:
    async def handler(call: Call) -> None:
        await asyncio.sleep(20)  # virtual
        await call.answer()

    async with Conversation(handler) as talk:
        await talk.hang_up()
        assert await talk.ended() == "cancelled"


async def test_what_is_too_early_or_too_late_is_refused_as_on_the_line() -> None:
    async def early(call: Call) -> None:
        await call.play("tone.wav")

    async def missing(call: Call) -> None:
        await call.answer()
        await call.play("missing.wav")

    with pytest.raises(RuntimeError, match="not answered yet"):
        async with Conversation(early):
            pass
    with pytest.raises(FileNotFoundError):
        async with Conversation(missing):
            pass


async def test_an_echo_sends_back_what_is_said() -> None:
    async def echo(call: Call) -> None:
        await call.answer()
        async for frame in call.hear(16000):
            call.send(frame)

    async with Conversation(echo) as talk:
        await talk.wait(0.1)
        await talk.speak(0.2)
        await talk.wait(0.1)
    loud = [max(frame.pcm) > 0 for frame in talk.frames]
    assert 19 <= len(loud) <= 20
    assert loud[5:15] == [True] * 10
    assert not any(loud[:4] + loud[16:])
    assert {frame.rate for frame in talk.frames} == {16000}


async def test_no_more_than_a_minute_of_sound_waits() -> None:
    async def chatter(call: Call) -> None:
        await call.answer()
        for _ in range(3001):
            call.send(Frame(bytes(1920)))

    with pytest.raises(BufferError):
        async with Conversation(chatter):
            pass


@pytest.mark.parametrize("name", ["said.opus", "said.wav", None])
async def test_a_recording_is_a_file_that_holds_what_was_said(name: str | None, tmp_path: Path) -> None:
    async def record(call: Call) -> None:
        await call.answer()
        async with call.record(name):
            await call.ask(timeout_s=3)

    async with Conversation(record, recordings=tmp_path / "kept") as talk:
        await talk.speak(1)
        assert await talk.ended() == "completed"
    (path,) = talk.recordings
    with av.open(path) as file:
        samples = sum(frame.samples for frame in file.decode(audio=0))
    assert samples / 48000 == pytest.approx(3, abs=0.1)
    assert Path(path).parent == (tmp_path / "kept" if name is None else Path())


async def test_keys_sent_calls_placed_and_video_are_seen() -> None:
    grey = Image(2, 2, bytes(6))

    async def handler(call: Call) -> None:
        await call.answer()
        await call.send_digits("1,2")
        await line.call(call.page, call.caller, "shop:call_back", ask_permission=True, key=call.id)
        await call.mute()
        await call.start_video()
        async for picture in call.watch():
            image = await picture.decode()
            assert image is not None
            call.show(image)

    async with Conversation(handler) as talk:
        await talk.wait(1)
        await talk.film(grey, grey)
    assert (talk.digits, talk.muted, talk.showing) == ("1,2", True, "camera")
    assert talk.shown == [grey, grey]
    assert [(one.handler, one.ask_permission, one.key) for one in talk.placed] == [("shop:call_back", True, "c_test")]
    with pytest.raises(RuntimeError, match="handlers only"):
        await line.message("1", "2", "text")


async def test_a_bridge_to_another_call_is_refused_with_the_reason() -> None:
    others: list[Call] = []

    async def handler(call: Call) -> None:
        await call.answer()
        others.append(call)
        if len(others) == 2:
            await call.bridge(others[0])
        async with call.join(Room()):
            await call.bridge(call)

    with pytest.raises(RuntimeError, match="in a room already"):
        async with Conversation(handler):
            pass
    with pytest.raises(NotImplementedError, match="one call"):
        async with Conversation(handler):
            pass


async def test_a_thread_of_the_handlers_is_waited_for_and_its_timeouts_do_not_fire() -> None:
    async def handler(call: Call) -> None:
        await call.answer()
        async with asyncio.timeout(10):
            await asyncio.to_thread(time.sleep, 0.2)
        await call.play("tone.wav")

    async with Conversation(handler) as talk:
        await talk.hears("tone.wav")
        assert talk.now_s < 5


# --- passed on ---


async def clerk(call: Call) -> None:
    await call.answer()
    await call.play("tone.wav")
    assert call.options == {"of": "menu"}


async def switch(call: Call) -> None:
    await call.answer()
    call.send(Frame(bytes(1920)))
    await call.hold()
    try:
        await call.transfer(clerk, of="menu")
    finally:
        await asyncio.sleep(1)  # of virtual time


async def test_who_is_given_a_call_has_it_as_it_is_once_the_other_has_cleaned_up() -> None:
    async with Conversation(switch) as talk:
        assert talk.held
        await talk.hears("tone.wav")
        assert talk.now_s == pytest.approx(1)
        assert not talk.held
        assert await talk.ended() == "completed"
    assert [name.rpartition(".")[2] for name in talk.transferred] == ["clerk"]


async def test_a_call_can_be_given_to_a_handler_by_its_name() -> None:
    async def reception(call: Call) -> None:
        await call.answer()
        await call.transfer("workers.handlers.voicemail:answer")

    async with Conversation(reception) as talk:
        await talk.hears("leave_a_message.ogg")
    assert talk.transferred == ["workers.handlers.voicemail:answer"]


async def test_a_call_cannot_be_given_to_nobody() -> None:
    async def reception(call: Call) -> None:
        await call.answer()
        with pytest.raises(HandlerUnusable, match="no function nobody"):
            await call.transfer("workers.handlers.voicemail:nobody")

    async with Conversation(reception) as talk:
        assert await talk.ended() == "completed"
    assert talk.transferred == []


async def test_who_has_given_a_call_away_may_say_so_and_is_over() -> None:
    said: list[str] = []

    async def reception(call: Call) -> None:
        await call.answer()
        try:
            await call.transfer(clerk, of="menu")
        except CallEnded as ended:
            said.append(ended.outcome)

    async with Conversation(reception) as talk:
        assert await talk.ended() == "completed"
    assert said == ["transferred"]
    assert talk.heard == ["tone.wav"]
