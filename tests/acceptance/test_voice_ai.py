"""A bot over Twilio Media Streams, through real processes: heard, interrupted, and ending the call as bots do."""

import base64
import json
import threading
from collections.abc import Iterator
from socket import SHUT_RDWR
from typing import Final

import httpx
import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from shared.calls import facts
from shared.streams.g711 import MU_LAW
from shared.streams.twilio import signature
from tests.acceptance.line import PIPELINE, Line
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until
from tests.acceptance.test_handlers import Caller

PAGE: Final = "108812345678985"
ACCOUNT, TOKEN = "AC0123456789abcdef", "an auth token"
CONSUMER_HZ: Final = 620
BOT_HZ: Final = 880
HZ: Final = 8000


def tone(seconds: float) -> str:
    samples = np.rint(9000 * np.sin(2 * np.pi * BOT_HZ * np.arange(int(HZ * seconds)) / HZ)).astype(np.int16)
    return base64.b64encode(MU_LAW.encode(samples)).decode()


class Bot:
    """Says a sentence, and after its mark a long one, which a key interrupts; then it ends the call over REST."""

    def __init__(self) -> None:
        self.url = self.api = ""
        self.broken = False
        self.signatures: list[str | None] = []
        self.events: list[str] = []
        self.heard = bytearray()
        self.over = threading.Event()
        self.ended_status = 0

    def behave(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        if self.broken:
            socket.socket.shutdown(SHUT_RDWR)
            return
        self.signatures.append(socket.request.headers.get("x-twilio-signature"))
        call = ""
        for received in socket:
            message = json.loads(received)
            event = message["event"]
            if event == "media":
                self.heard += base64.b64decode(message["media"]["payload"])
                continue
            self.events.append(event if event != "mark" else message["mark"]["name"])
            match event:
                case "start":
                    call = message["start"]["callSid"]
                    self.say(socket, 1.5, "short")
                case "mark" if message["mark"]["name"] == "short":
                    self.say(socket, 60.0, "long")
                case "dtmf":
                    socket.send(json.dumps({"event": "clear"}))
                case "mark":
                    self.ended_status = self.end(call)
        self.over.set()

    def say(self, socket: ServerConnection, seconds: float, mark: str) -> None:
        socket.send(json.dumps({"event": "media", "media": {"payload": tone(seconds)}}))
        socket.send(json.dumps({"event": "mark", "mark": {"name": mark}}))

    def end(self, call: str) -> int:
        url = f"{self.api}/2010-04-01/Accounts/{ACCOUNT}/Calls/{call}.json"
        assert httpx.post(url, data={"Status": "completed"}, auth=(ACCOUNT, "wrong")).json()["code"] == 20003
        assert httpx.post(url, data={"Status": "busy"}, auth=(ACCOUNT, TOKEN)).status_code == 400
        assert httpx.post(url, content=bytes(20_000), auth=(ACCOUNT, TOKEN)).status_code == 413
        assert httpx.get(url, auth=(ACCOUNT, TOKEN)).json()["status"] == "in-progress"
        return httpx.post(url, data={"Status": "completed"}, auth=(ACCOUNT, TOKEN)).status_code


@pytest.fixture(scope="module")
def bot() -> Iterator[Bot]:
    bot = Bot()
    with serve(bot.behave, "127.0.0.1", 0, compression=None) as server:
        bot.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/bot"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield bot
        server.shutdown()


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def line(simulated: SimulatedMeta, bot: Bot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = {
        "VOICE_AI_URL": bot.url,
        "VOICE_AI_PARAMETERS": '{"shop": "12"}',
        "STREAM_ACCOUNT_SID": ACCOUNT,
        "STREAM_AUTH_TOKEN": TOKEN,
        "VOICEMAIL_GREETING": "tone.wav",
    }
    with Line(tmp_path_factory.mktemp("voice"), simulated, **settings) as running:
        with (running.home / "pages.toml").open("a") as tables:
            tables.write(f'[{PAGE}]\ntoken = "x"\nhandler = "workers.handlers.voice_ai:answer"\n')
        running.processes["sim"] = simulated.start(running.home)
        running.start(*PIPELINE)
        bot.api = running.base
        yield running.await_ready()


def test_a_bot_is_heard_and_interrupted_and_ends_the_call(line: Line, simulated: SimulatedMeta, bot: Bot) -> None:
    caller = Caller(simulated, PAGE, "6001", tone_hz=CONSUMER_HZ)
    line.await_fact(caller, facts.LegConnected)
    assert "long" not in bot.events, "a minute is not over yet"
    wait_for(bot, "short")
    caller.press("1")
    call = simulated.wait(caller.call_id)
    assert bot.over.wait(10)
    assert bot.events == ["connected", "start", "short", "dtmf", "long", "stop"]
    assert bot.signatures == [signature(TOKEN, bot.url)]
    assert bot.ended_status == 200
    assert line.outcome_of(caller) == "completed"
    assert call["heard"]["dominant_hz"] == pytest.approx(BOT_HZ, abs=5)
    assert dominant_hz(bytes(bot.heard)) == pytest.approx(CONSUMER_HZ, abs=5)


def test_without_the_bot_a_message_is_taken(line: Line, simulated: SimulatedMeta, bot: Bot) -> None:
    bot.broken = True
    caller = Caller(simulated, PAGE, "6002")
    line.await_fact(caller, facts.RecordingStarted)
    caller.hang_up()
    assert line.outcome_of(caller) == "completed"
    assert line.processes["media"].said.count("bot.failed") == 2


def wait_for(bot: Bot, event: str) -> None:
    until(lambda: event in bot.events, event, timeout_s=20)


def dominant_hz(codes: bytes) -> float:
    samples = MU_LAW.decode(codes)[-2 * HZ :].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * HZ / len(samples)
