"""Voice bots that others wrote for Twilio, unmodified, at the end of a call through real processes."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shared.calls import facts
from tests.acceptance.line import PIPELINE, Line, free_port
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until
from tests.acceptance.test_handlers import SPOKEN, Caller
from tests.interop import model
from tests.interop.model import Model
from tests.interop.program import CACHE
from tests.interop.tap import Tap

PAGE: Final = "108812345678986"
ACCOUNT, TOKEN = "AC0123456789abcdef", "an auth token"
BOTS: Final = Path(__file__).parent / "bots"
PYTHON: Final = CACHE / "bots" / "bin" / "python"
AGENTS: Final = CACHE / "node_modules" / "@openai" / "agents-extensions"
CONSUMER_HZ: Final = 620
"""What the consumer says at first, which is no speech."""
INTERRUPTING_HZ: Final = 1200
RECORDED: Final = Path(__file__).parents[1] / "fixtures" / "streams"
RECORD: Final = "RECORD_STREAMS" in os.environ
"""Whether conversations are written to `RECORDED`, which `tests/unit/test_recorded_streams.py` replays."""


class Program:
    """A bot in a process of its own."""

    def __init__(self, *command: str | Path, web: str) -> None:
        twilio = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_BASE_URL": web}
        self.said: list[str] = []
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **twilio},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.rstrip())
            print(line, end="", file=sys.stderr)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def tap(port: int) -> Iterator[Tap]:
    with Tap(port).listening() as tap:
        yield tap


@pytest.fixture
def line(simulated: SimulatedMeta, tap: Tap, tmp_path: Path) -> Iterator[Line]:
    settings = {
        "VOICE_AI_URL": tap.url,
        "VOICE_AI_PARAMETERS": '{"shop": "12"}',
        "STREAM_ACCOUNT_SID": ACCOUNT,
        "STREAM_AUTH_TOKEN": TOKEN,
    }
    with Line(tmp_path, simulated, **settings) as running:
        with (running.home / "pages.toml").open("a") as tables:
            tables.write(f'[{PAGE}]\ntoken = "x"\nhandler = "workers.handlers.voice_ai:answer"\n')
        running.processes["sim"] = simulated.start(running.home)
        running.start(*PIPELINE)
        yield running.await_ready()


@pytest.mark.interop
def test_a_bot_of_pipecats_speaks_is_interrupted_by_speech_and_hangs_up(
    line: Line, simulated: SimulatedMeta, port: int, tap: Tap
) -> None:
    if not PYTHON.exists():
        pytest.skip("Pipecat is not installed: tests/interop/install.sh")
    bot = Program(PYTHON, BOTS / "pipecat_bot.py", str(port), web=line.base)
    try:
        until(lambda: reachable(port) or bot.ended, "the bot", timeout_s=60)
        caller = Caller(simulated, PAGE, "7001", tone_hz=CONSUMER_HZ)
        line.await_fact(caller, facts.LegConnected)
        until(lambda: f"twilio {caller.call_id} 12" in bot.said, "the call at the bot", timeout_s=20)
        until(lambda: "speaking" in bot.said, "its first words", timeout_s=20)
        caller.say_once(SPOKEN)
        call = simulated.wait(caller.call_id)
        assert "signed" in bot.said, "as Twilio's own library sees it"
        assert "interrupted" in bot.said
        assert line.outcome_of(caller) == "completed"
        asked = [fact for fact in line.log_of(caller.call_id) if isinstance(fact, facts.HangUpAsked)]
        assert [fact.by for fact in asked] == ["api"], "by Pipecat's own request"
        assert call["heard"]["seconds"] < 15, "of the 30 that were said first"
        if RECORD:
            tap.keep(RECORDED / "pipecat.jsonl")
    finally:
        bot.end()


@pytest.mark.interop
def test_a_bot_of_openais_agents_sdk_hears_is_interrupted_and_follows_the_marks(
    line: Line, simulated: SimulatedMeta, port: int, tap: Tap
) -> None:
    if shutil.which("node") is None or not AGENTS.exists():
        pytest.skip("the Agents SDK is not installed: tests/interop/install.sh")
    with Model(speech_hz=INTERRUPTING_HZ).listening() as mind:
        bot = Program("node", BOTS / "openai_agents_bot.mjs", str(port), mind.url, web=line.base)
        try:
            until(lambda: reachable(port) or bot.ended, "the bot", timeout_s=20)
            caller = Caller(simulated, PAGE, "7002", tone_hz=CONSUMER_HZ)
            line.await_fact(caller, facts.LegConnected)
            until(lambda: marks(bot), "its first mark played", timeout_s=20)
            heard_first = model.dominant_hz(bytes(mind.heard[-2 * model.WINDOW_BYTES :]))
            caller.press("5")
            until(lambda: "dtmf 5" in bot.said, "the key", timeout_s=20)
            until(lambda: len(marks(bot)) >= 6, "1.2 s played", timeout_s=20)
            simulated.say(caller.call_id, tone_hz=INTERRUPTING_HZ)
            call = simulated.wait(caller.call_id)
        finally:
            bot.end()
    assert bot.said[1] == f"start {caller.call_id} 12"
    assert not [said for said in bot.said if said.startswith("error") or "Invalid mark" in said], bot.said
    assert heard_first == pytest.approx(CONSUMER_HZ, abs=5)
    assert call["heard"]["dominant_hz"] in (pytest.approx(model.LONG_HZ, abs=5), pytest.approx(model.SHORT_HZ, abs=5))
    assert call["heard"]["seconds"] < 15, "of the 30 that were said first"
    (truncated,) = mind.of("conversation.item.truncate")
    before = [said for said in bot.said[: bot.said.index("interrupted")] if said.startswith("mark ")]
    assert truncated["item_id"] == "item_1"
    assert truncated["audio_end_ms"] == played_ms(before[-1]) + 50, "what our marks told it, and the 50 ms it adds"
    assert tap.events("bot").count("clear") == 1
    said = [event for event in tap.events("bot") if event != "clear"]
    assert [event for event in tap.events("line") if event not in LINES_OWN] == said, "every mark once, in order"
    assert line.outcome_of(caller) == "completed"
    if RECORD:
        tap.keep(RECORDED / "openai_agents.jsonl")


LINES_OWN: Final = ("connected", "start", "dtmf", "stop")


def marks(bot: Program) -> list[str]:
    return [said.removeprefix("mark ") for said in bot.said if said.startswith("mark ")]


def played_ms(mark: str) -> int:
    return int(mark.split(":")[1])


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
