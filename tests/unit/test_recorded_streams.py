"""Conversations that real bots had with us over Media Streams, replayed: they are told now what they were told."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from pageline import Call, Frame
from pageline.testing import Conversation
from shared.streams.g711 import MU_LAW

RECORDED: Final = Path(__file__).parents[1] / "fixtures" / "streams"
FIRST, AFTERWARDS = 0x90, 0xA0
"""What the bot's sound is replayed as: before it was interrupted, and after."""
FRAME_MS: Final = 20
BYTES_A_FRAME: Final = 160
NUMBERS: Final = ("sequenceNumber", "chunk", "timestamp")

Message = dict[str, Any]


class Replay:
    """The bot: it says each message once it was told as many of each kind as when it said it."""

    def __init__(self, name: str) -> None:
        lines = map(json.loads, (RECORDED / f"{name}.jsonl").read_text().splitlines())
        self.script: list[tuple[str, Message]] = [(line["from"], line["message"]) for line in lines]
        self.told: list[Message] = []
        self.due = ""
        """The message that only the consumer can bring about, while it is waited for."""
        self.over = asyncio.Event()

    async def behave(self, socket: ServerConnection) -> None:
        needed: dict[str, int] = {}
        sound, stream = FIRST, ""
        for source, message in self.script:
            event = message["event"]
            if source == "line":
                needed[event] = needed.get(event, 0) + 1
                self.due = event if event in ("dtmf", "stop") else ""
                while len(self.told_of(event)) < needed[event]:
                    self.told.append(_without_sound(json.loads(await socket.recv())))
                    stream = self.told[-1].get("streamSid", "")
                continue
            if event == "clear":
                sound = AFTERWARDS
            await socket.send(json.dumps({**_with_sound(message, sound), "streamSid": stream}))
        await socket.close()
        self.over.set()

    def told_of(self, event: str) -> list[Message]:
        return [message for message in self.told if message["event"] == event]

    def of(self, source: str, *, media: bool = False) -> list[Message]:
        """Return one side's messages as they were, all its sound or all the others."""
        return [message for whose, message in self.script if whose == source and (message["event"] == "media") == media]


@pytest.mark.parametrize("name", ["openai_agents", "pipecat"])
async def test_a_real_bot_is_told_what_it_was_told_when_this_was_recorded(name: str) -> None:
    bot = Replay(name)
    parameters = bot.of("line")[1]["start"]["customParameters"]

    async def handler(call: Call) -> None:
        await call.answer()
        await call.stream(url, parameters=parameters, account="AC0123456789abcdef")

    async with serve(bot.behave, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/bot"
        async with Conversation(handler) as talk:
            while not bot.over.is_set():
                match bot.due:
                    case "dtmf":
                        await talk.press(bot.of("line")[_index_of(bot, "dtmf")]["dtmf"]["digit"])
                        bot.due = ""
                    case "stop":
                        await talk.hang_up()
                        await talk.ended()
                        await asyncio.wait_for(bot.over.wait(), 5)
                        break
                await talk.wait(0.1)
            assert await talk.ended() == "completed"
    then, now = bot.of("line"), [message for message in bot.told if message["event"] != "media"]
    assert [_lasting(message) for message in now] == [_lasting(message) for message in then], "in this order"
    assert {_fields(message) for message in bot.told_of("media")} == {
        _fields(message) for message in bot.of("line", media=True)
    }
    numbered = [message for message in bot.told if "sequenceNumber" in message]
    assert [message["sequenceNumber"] for message in numbered] == [str(n + 1) for n in range(len(numbered))]
    assert len({message["streamSid"] for message in numbered}) == 1
    for number, message in enumerate(bot.told_of("media")):
        assert message["media"] == {
            "track": "inbound",
            "chunk": str(number + 1),
            "timestamp": str(number * FRAME_MS),
            "payload_bytes": BYTES_A_FRAME,
        }
    _check_what_was_heard(bot, talk.frames)


def _check_what_was_heard(bot: Replay, frames: list[Frame]) -> None:
    """The beginning of what was said before the interruption, nothing of its rest, and what was said afterwards."""
    said = bot.of("bot", media=True)
    cut = next(n for n, (_, message) in enumerate(bot.script) if message["event"] == "clear")
    before = [message for whose, message in bot.script[:cut] if whose == "bot" and message["event"] == "media"]
    afterwards_frames = sum(message["media"]["payload_bytes"] for message in said[len(before) :]) / BYTES_A_FRAME
    kinds = [_kind(frame) for frame in frames]
    turn = kinds.index(AFTERWARDS) if AFTERWARDS in kinds else len(kinds)
    assert kinds == [FIRST] * turn + [AFTERWARDS] * (len(kinds) - turn)
    assert 0 < turn * BYTES_A_FRAME < sum(message["media"]["payload_bytes"] for message in before)
    if bot.of("line")[-1]["event"] == "stop":  # which cut it short
        assert 0 < len(kinds) - turn <= afterwards_frames + 1
    else:
        assert len(kinds) - turn == pytest.approx(afterwards_frames, abs=1)


def _kind(frame: Frame) -> int:
    level = int(np.frombuffer(frame.pcm, np.int16)[BYTES_A_FRAME])
    return min((FIRST, AFTERWARDS), key=lambda code: abs(int(MU_LAW.decode(bytes([code]))[0]) - level))


def _index_of(bot: Replay, event: str) -> int:
    return [message["event"] for message in bot.of("line")].index(event)


def _with_sound(message: Message, code: int) -> Message:
    if message["event"] != "media":
        return message
    payload = base64.b64encode(bytes([code]) * message["media"]["payload_bytes"]).decode()
    return {**message, "media": {"payload": payload}}


def _without_sound(message: Message) -> Message:
    if message["event"] != "media":
        return message
    media = dict(message["media"])
    media["payload_bytes"] = len(base64.b64decode(media.pop("payload"), validate=True))
    return {**message, "media": media}


def _lasting(message: Message) -> Message:
    """Return a message without what differs from call to call."""
    ids = ("streamSid", "callSid")
    plain = {key: type(value).__name__ if key in NUMBERS or key in ids else value for key, value in message.items()}
    return {key: _lasting(value) if isinstance(value, dict) else value for key, value in plain.items()}


def _fields(message: Message) -> str:
    return json.dumps(_lasting(message), sort_keys=True)
