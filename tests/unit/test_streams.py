"""Bots over a WebSocket: G.711, rates, what each protocol says, and that nothing is played after a clear."""

import asyncio
import base64
import json
import math
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from pageline import Call, StreamFailed
from pageline.testing import Conversation
from shared.streams.g711 import A_LAW, MU_LAW
from shared.streams.openai import OpenAI
from shared.streams.pcm import Pcm
from shared.streams.pump import FRAME_BYTES, RATE, Message, named, pump
from shared.streams.resampling import Resampler
from shared.streams.twilio import signature
from workers.handlers.voice_ai import Terms, configured, converse
from workers.handlers.voicemail import GOODBYE, LEAVE_A_MESSAGE
from workers.media.outgoing import Outgoing

Bot = Callable[[ServerConnection], Awaitable[None]]
FRAME: Final = bytes(FRAME_BYTES)


# -- sound -----------------------------------------------------------------------------------------------------------


def test_mu_law_has_the_values_of_the_recommendation() -> None:
    """G.711 table 2a, scaled from 14 bits to 16: the largest, the smallest steps, and zero."""
    assert MU_LAW.decode(b"\x80\x00\xff\x7f\xfe\xf0\x8f").tolist() == [32124, -32124, 0, 0, 8, 120, 16764]
    assert MU_LAW.encode(np.array([32767, -32768, 8, 120], np.int16)) == b"\x80\x00\xfe\xf0"


def test_a_law_has_the_values_of_the_recommendation() -> None:
    """G.711 table 1a, scaled from 13 bits to 16."""
    assert A_LAW.decode(b"\xd5\x55\xaa\x2a\xd4").tolist() == [8, -8, 32256, -32256, 24]
    assert A_LAW.encode(np.array([32767, -32768, 8, -8], np.int16)) == b"\xaa\x2a\xd5\x55"


@pytest.mark.parametrize("law", [MU_LAW, A_LAW])
def test_each_code_is_what_its_own_level_is_coded_as(law: Any) -> None:
    levels = law.decode(bytes(range(256)))
    assert law.decode(law.encode(levels)).tolist() == levels.tolist()


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16000, 8000), (8000, 16000), (24000, 16000), (16000, 24000)])
def test_a_tone_is_the_same_tone_at_another_rate_and_nothing_else(from_hz: int, to_hz: int) -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 1000 * np.arange(from_hz) / from_hz)).astype(np.int16)
    resample = Resampler(from_hz, to_hz)
    pieces = [resample(piece) for piece in np.array_split(tone, 51)]  # of lengths that fit no frame
    out = np.concatenate(pieces)[to_hz // 10 :]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) ** 2
    peak = int(np.argmax(spectrum))
    assert abs(peak * to_hz / len(out) - 1000) < 2
    beside = spectrum[: peak - 4].sum() + spectrum[peak + 5 :].sum()
    assert 10 * math.log10(spectrum.sum() / beside) > 55
    assert abs(np.sqrt((out.astype(float) ** 2).mean()) / (8000 / math.sqrt(2)) - 1) < 0.01


def test_a_minute_that_comes_at_once_is_done_in_place_and_stalls_no_other_call() -> None:
    minute = np.ones(8000 * 60, np.int16)
    tracemalloc.start()
    try:
        Resampler(8000, RATE)(minute)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 25 * minute.nbytes, "no copy of it for each tap of the filter"


def test_what_lies_above_the_new_band_is_not_folded_into_it() -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000)).astype(np.int16)
    out = Resampler(16000, 8000)(tone)[800:]
    assert np.sqrt((out.astype(float) ** 2).mean()) < 8000 / math.sqrt(2) / 1000, "60 dB below"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 700), max_size=20), st.sampled_from([(8000, 16000), (16000, 8000), (24000, 16000)]))
def test_how_sound_is_cut_changes_nothing_of_it(cuts: list[int], rates: tuple[int, int]) -> None:
    sound = np.random.default_rng(1).integers(-20000, 20000, sum(cuts), np.int16)
    whole, cut, pieces, start = Resampler(*rates)(sound), Resampler(*rates), [], 0
    for length in cuts:
        pieces.append(cut(sound[start : start + length]))
        start += length
    assert np.array_equal(np.concatenate([*pieces, np.zeros(0, np.int16)]), whole)


# -- what waits to be sent -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.sampled_from(["put", "mark", "clear", "take", "reach"]), max_size=60))
def test_marks_are_told_once_in_order_and_truly(steps: list[str]) -> None:
    from pageline import Frame

    outgoing = Outgoing()
    told: list[tuple[int, bool, int]] = []
    before: dict[int, int] = {}
    put = taken = cleared = number = 0

    def tell(mark: int) -> Callable[[bool], None]:
        return lambda played: told.append((mark, played, taken + cleared))

    for step in steps:
        match step:
            case "put":
                outgoing.put(Frame(FRAME, RATE))
                put += 1
            case "mark":
                before[number] = put
                outgoing.mark(tell(number))
                number += 1
            case "clear":
                dropped = len(outgoing)
                cleared += dropped
                assert outgoing.clear() == dropped
            case "take":
                taken += outgoing.take() is not None
            case "reach":
                outgoing.reach()
        assert len(outgoing) == put - taken - cleared
    assert [mark for mark, *_ in told] == list(range(len(told)))
    assert all(gone >= before[mark] for mark, _, gone in told)


# -- protocols -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bot(behave: Bot) -> AsyncIterator[str]:
    async with serve(behave, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/bot"


async def until(socket: ServerConnection, event: str) -> dict[str, Any]:
    while True:
        received = await socket.recv()
        message: dict[str, Any] = {} if isinstance(received, bytes) else json.loads(received)
        if event in (message.get("event"), message.get("type")):
            return message


def talk_over(url: str, **more: Any) -> Conversation:
    async def handler(call: Call) -> None:
        await call.answer()
        await call.stream(url, **more)

    return Conversation(handler)


def speech(milliseconds: int) -> str:
    return base64.b64encode(bytes([0x90]) * (8 * milliseconds)).decode()


async def test_twilio_is_spoken_as_twilio_speaks_it() -> None:
    seen: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def behave(socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.headers["x-twilio-signature"] == signature("t0ken", url)
        seen.extend([json.loads(await socket.recv()) for _ in range(2)])
        stream = seen[1]["streamSid"]
        await socket.send(json.dumps({"event": "media", "streamSid": stream, "media": {"payload": speech(50)}}))
        await socket.send(json.dumps({"event": "mark", "streamSid": stream, "mark": {"name": "said"}}))
        seen.extend([await until(socket, event) for event in ("media", "mark", "dtmf", "stop")])
        over.set()

    async with bot(behave) as url:
        async with talk_over(url, secret="t0ken", account="AC1", parameters={"shop": "12"}) as talk:
            await talk.wait(0.5)
            await talk.press("7")
            await talk.wait(0.2)
            await talk.hang_up()
            await talk.ended()
        await asyncio.wait_for(over.wait(), 5)
    connected, start, media, mark, dtmf, stop = seen
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["start"]["customParameters"] == {"shop": "12"}
    assert start["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert start["start"]["accountSid"] == stop["stop"]["accountSid"] == "AC1"
    assert len(base64.b64decode(media["media"]["payload"])) == 160
    assert mark["mark"] == {"name": "said"}
    assert dtmf["dtmf"]["digit"] == "7"
    assert all(isinstance(message["sequenceNumber"], str) for message in seen[1:])
    assert len(talk.frames) == 3, "50 ms, the last frame filled up for the mark"


async def test_after_a_clear_nothing_is_played_and_marks_come_back() -> None:
    marks: list[str] = []
    frames: list[int] = []

    async def behave(socket: ServerConnection) -> None:
        await until(socket, "start")
        for name in ("one", "two"):
            await socket.send(json.dumps({"event": "media", "media": {"payload": speech(20_000)}}))
            await socket.send(json.dumps({"event": "mark", "mark": {"name": name}}))
        await until(socket, "dtmf")
        await socket.send(json.dumps({"event": "clear"}))
        marks.extend([(await until(socket, "mark"))["mark"]["name"] for _ in range(2)])
        frames.append(len(talk.frames))

    async with bot(behave) as url, talk_over(url) as talk:
        await talk.wait(1.2)
        await talk.press("1")
        assert await talk.ended() == "completed", "the bot closed the connection"
    assert marks == ["one", "two"]
    assert 40 <= len(talk.frames) < 300, "of the 2,000 that were said"
    assert len(talk.frames) == frames[0]


async def test_a_bot_that_closes_behind_its_last_words_has_not_failed_and_they_are_heard() -> None:
    async def behave(socket: ServerConnection) -> None:
        await until(socket, "start")
        await socket.send(json.dumps({"event": "media", "media": {"payload": speech(1000)}}))

    async with bot(behave) as url, talk_over(url) as talk:
        await talk.wait(1.5)
        assert await talk.ended() == "completed"
    assert len(talk.frames) == 50


@pytest.mark.parametrize(("protocol", "rate"), [("pcm16k", 16000), ("pcm24k", 24000)])
async def test_raw_sound_is_as_simple_as_can_be(protocol: Any, rate: int) -> None:
    heard = bytearray()

    async def behave(socket: ServerConnection) -> None:
        start = json.loads(await socket.recv())
        assert (start["event"], start["rate"], start["parameters"]) == ("start", rate, {"shop": "12"})
        while len(heard) < rate:
            message = await socket.recv()
            heard.extend(message if isinstance(message, bytes) else b"")
        await socket.send(bytes(rate)[:-1])  # half a second; a sample is cut in two
        await socket.send(b"\0")
        await socket.send('{"event": "mark", "name": "over"}')
        assert await until(socket, "mark") == {"event": "mark", "name": "over"}

    async with bot(behave) as url, talk_over(url, protocol=protocol, parameters={"shop": "12"}) as talk:
        await talk.wait(1)
        assert await talk.ended() == "completed"
    assert len(talk.frames) == 25


@pytest.mark.parametrize("shape", ["ga", "beta"])
@pytest.mark.parametrize("format_", ["pcmu", "pcma", "pcm"])
async def test_a_model_is_interrupted_and_told_what_was_heard(shape: str, format_: str) -> None:
    truncated: list[dict[str, Any]] = []

    async def behave(socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.headers["authorization"] == "Bearer k3y"
        assert ("openai-beta" in socket.request.headers) == (shape == "beta")
        session = (await until(socket, "session.update"))["session"]
        assert session["instructions"] == "Be brief."
        assert ("audio" in session) == (shape == "ga")
        await until(socket, "input_audio_buffer.append")
        prefix = "response.output_audio" if shape == "ga" else "response.audio"
        second = 8000 if format_ != "pcm" else 48000
        for _ in range(10):
            delta = base64.b64encode(bytes(second)).decode()
            event = {"type": f"{prefix}.delta", "item_id": "item_1", "content_index": 0, "delta": delta}
            await socket.send(json.dumps(event))
        await until(socket, "conversation.item.create")  # a key, which is when the consumer speaks here
        await socket.send(json.dumps({"type": "input_audio_buffer.speech_started"}))
        truncated.append(await until(socket, "conversation.item.truncate"))

    parameters = {"shape": shape, "format": format_, "instructions": "Be brief."}
    async with bot(behave) as url, talk_over(url, protocol="openai", parameters=parameters, secret="k3y") as talk:
        await talk.wait(0.7)
        await talk.press("1")
        assert await talk.ended() == "completed"
    assert truncated[0]["item_id"] == "item_1"
    heard_ms = truncated[0]["audio_end_ms"]
    assert abs(heard_ms - len(talk.frames) * 20) <= 40, "what was played, and nothing of what was not"
    assert heard_ms < 10_000


async def test_what_waits_behind_what_is_said_was_not_heard_at_all() -> None:
    truncated: list[tuple[str, int]] = []

    async def behave(socket: ServerConnection) -> None:
        for item, seconds in (("item_1", 1), ("item_2", 3), ("item_3", 2)):
            delta = base64.b64encode(bytes(seconds * 8000)).decode()
            event = {"type": "response.output_audio.delta", "item_id": item, "content_index": 0, "delta": delta}
            await socket.send(json.dumps(event))
        await until(socket, "conversation.item.create")  # a key, which is when the consumer speaks here
        await socket.send(json.dumps({"type": "input_audio_buffer.speech_started"}))
        for _ in range(3):
            cut = await until(socket, "conversation.item.truncate")
            truncated.append((cut["item_id"], cut["audio_end_ms"]))

    async with bot(behave) as url, talk_over(url, protocol="openai", secret="k3y") as talk:
        await talk.wait(0.5)
        await talk.press("1")
        assert await talk.ended() == "completed"
    (first, heard_ms), *others = truncated
    assert (first, others) == ("item_1", [("item_2", 0), ("item_3", 0)])
    assert abs(heard_ms - len(talk.frames) * 20) <= 40


def test_what_a_model_cannot_be_told_is_refused() -> None:
    for parameters in ({"voise": "x"}, {"format": "mp3"}, {"shape": "new"}):
        with pytest.raises(ValueError, match="parameters of openai"):
            OpenAI(parameters, key="")


# -- a bot that is not there -----------------------------------------------------------------------------------------


async def test_a_bot_that_cannot_be_reached_or_talks_nonsense_is_told_of() -> None:
    async def babble(socket: ServerConnection) -> None:
        await socket.send("{")
        await socket.wait_closed()

    async with talk_over("ws://127.0.0.1:9/bot?key=s3cret") as talk:
        with pytest.raises(StreamFailed, match=r"no bot could be reached at ws://127\.0\.0\.1:9/bot: ") as failed:
            await talk.ended()
    assert "s3cret" not in str(failed.value)
    async with bot(babble) as url, talk_over(url) as talk:
        with pytest.raises(StreamFailed, match="no message of Media Streams"):
            await talk.ended()
    for url in ("http://bot.example/?key=s3cret", "wss://", "bot"):
        async with talk_over(url) as talk:
            with pytest.raises(ValueError, match="has to begin with wss") as refused:
                await talk.ended()
        assert "s3cret" not in str(refused.value)


def test_a_bot_is_named_without_what_may_be_secret() -> None:
    assert named("wss://me:s3cret@bot.example:8443/ws/a?key=s3cret") == "wss://bot.example:8443/ws/a"
    assert named("bot") == "bot"


class Wordy(Pcm):
    """Says far more at the beginning than a bot that leaves at once takes."""

    def begin(self) -> list[Message]:
        return [*super().begin(), *[bytes(100_000)] * 1_000]


async def test_a_bot_that_leaves_right_after_the_handshake_has_failed_as_well() -> None:
    async def leave(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    async def handler(call: Call) -> None:
        await call.answer()
        await pump(call, url, Wordy(call, RATE, {}, token=""), connect_timeout_s=5)

    async with bot(leave) as url, Conversation(handler) as talk:
        with pytest.raises(StreamFailed, match="went away"):
            await talk.ended()


@pytest.mark.parametrize(("fallback", "sound"), [("voicemail", LEAVE_A_MESSAGE), ("goodbye", GOODBYE)])
async def test_a_bot_that_breaks_off_is_called_once_more_and_then_somebody_else_takes_the_call(
    fallback: str, sound: str
) -> None:
    came = []

    async def break_off(socket: ServerConnection) -> None:
        came.append(await until(socket, "start"))
        socket.transport.abort()

    async def handler(call: Call) -> None:
        await call.answer()
        await converse(call, Terms(url, fallback=fallback))

    async with bot(break_off) as url, Conversation(handler) as talk:
        await talk.hears(sound)
        assert len(came) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("VOICE_AI_URL", "http://bot?k=s3cret"), ("VOICE_AI_PROTOCOL", "sip"), ("VOICE_AI_PARAMETERS", '["s3cret"]')],
)
def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("VOICE_AI_URL", "wss://bot.example/")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name) as refused:
        configured()
    assert "s3cret" not in str(refused.value)
