"""Bots through real processes: over Twilio Media Streams, heard, interrupted and ending the call; a Realtime model."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from socket import SHUT_RDWR
from typing import Any, Final

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.sync.server import ServerConnection, serve

from shared.calls import facts
from shared.streams.g711 import MU_LAW
from shared.streams.twilio import signature
from tests.acceptance.line import PIPELINE, Line
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until
from tests.acceptance.test_handlers import Caller

PAGE: Final = "108812345678985"
MODEL_PAGES: Final = {"ga": "108812345678983", "beta": "108812345678984"}
ACCOUNT, TOKEN = "AC0123456789abcdef", "an auth token"
CONSUMER_HZ: Final = 620
BOT_HZ: Final = 880
HZ: Final = 8000
MODEL_HZ: Final = 1040
HEARD_HZ: Final = 48_000
WINDOW: Final = HEARD_HZ // 50
LOUD: Final = 1_500
"""Of 9,000: a window of 20 ms in which the tone is heard."""
INTERRUPTING_HZ: Final = 1500
MODEL_HANDLER: Final = """
from pageline import Call

async def answer(call: Call) -> None:
    await call.answer()
    parameters = {"shape": call.options["shape"], "format": "pcmu", "instructions": "Be brief."}
    await call.stream(call.options["model"], protocol="openai", parameters=parameters, secret="k3y")
"""


def tone(seconds: float, hz: float = BOT_HZ) -> str:
    samples = np.rint(9000 * np.sin(2 * np.pi * hz * np.arange(int(HZ * seconds)) / HZ)).astype(np.int16)
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


class Model:
    """A Realtime server: says a minute at once, hears when the consumer speaks, and keeps what it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.told: dict[str, dict[str, Any]] = {}
        """The last event of each kind."""
        self.keys: list[str | None] = []
        self.heard = bytearray()

    def behave(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.told, self.heard = {}, bytearray()
        self.keys = [socket.request.headers.get(name) for name in ("authorization", "openai-beta")]
        beta = socket.request.path.endswith("beta")
        kind = "response.audio.delta" if beta else "response.output_audio.delta"
        interrupted = False
        for received in socket:
            event = json.loads(received)
            if event["type"] == "input_audio_buffer.append":
                if not self.heard:
                    where = {"response_id": "r_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
                    socket.send(json.dumps({"type": kind, **where, "delta": tone(60.0, MODEL_HZ)}))
                self.heard += base64.b64decode(event["audio"])
                if not interrupted and abs(dominant_hz(bytes(self.heard), 0.25) - INTERRUPTING_HZ) < 20:
                    interrupted = True
                    socket.send(json.dumps({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0}))
            self.told[event["type"]] = event


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model()
    with serve(model.behave, "127.0.0.1", 0, compression=None) as server:
        model.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield model
        server.shutdown()


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
def line(simulated: SimulatedMeta, bot: Bot, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
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
            for shape, page in MODEL_PAGES.items():
                options = f'{{ shape = "{shape}", model = "{model.url}/{shape}" }}'
                tables.write(f'[{page}]\ntoken = "x"\nhandler = "realtime:answer"\noptions = {options}\n')
        (running.home / "realtime.py").write_text(MODEL_HANDLER)
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


@pytest.mark.parametrize("shape", ["ga", "beta"])
def test_a_model_is_interrupted_by_speech_and_told_what_the_consumer_heard(
    line: Line, simulated: SimulatedMeta, model: Model, shape: str
) -> None:
    model.heard = bytearray()  # of the session before
    caller = Caller(simulated, MODEL_PAGES[shape], f"6003-{shape}", tone_hz=CONSUMER_HZ)
    line.await_fact(caller, facts.LegConnected)
    until(lambda: len(model.heard) > 1.2 * HZ, "a second heard", timeout_s=20)
    assert dominant_hz(bytes(model.heard), 0.5) == pytest.approx(CONSUMER_HZ, abs=5)
    simulated.say(caller.call_id, tone_hz=INTERRUPTING_HZ)
    told = until(lambda: model.told.get("conversation.item.truncate"), "the truncation", timeout_s=20)
    time.sleep(0.6)  # in which the consumer would hear the rest
    caller.hang_up()
    simulated.wait(caller.call_id)
    assert line.outcome_of(caller) == "completed"
    assert model.keys == ["Bearer k3y", "realtime=v1" if shape == "beta" else None]
    session = model.told["session.update"]["session"]
    assert session["instructions"] == "Be brief."
    assert ("input_audio_format" if shape == "beta" else "audio") in session
    heard = simulated.recording(caller.call_id)
    windows = heard[: len(heard) // WINDOW * WINDOW].reshape(-1, WINDOW)
    loud = np.flatnonzero(np.abs(windows).max(axis=1) > LOUD)
    assert dominant_hz_of(windows[loud[2] : loud[-2]].ravel(), HEARD_HZ) == pytest.approx(MODEL_HZ, abs=5)
    heard_ms = (loud[-1] + 1 - loud[0]) * 20
    assert (told["item_id"], told["content_index"]) == ("item_1", 0)
    assert told["audio_end_ms"] == pytest.approx(heard_ms, abs=100), "and nothing was heard after it"


def wait_for(bot: Bot, event: str) -> None:
    until(lambda: event in bot.events, event, timeout_s=20)


def dominant_hz(codes: bytes, seconds: float = 2.0) -> float:
    return dominant_hz_of(MU_LAW.decode(codes)[-int(seconds * HZ) :], HZ)


def dominant_hz_of(sound: NDArray[np.int16], rate: int) -> float:
    samples = sound.astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * rate / len(samples)
