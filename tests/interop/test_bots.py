"""Voice bots that others wrote for Twilio, unmodified, at the end of a call through real processes."""

import os
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

PAGE: Final = "108812345678986"
ACCOUNT, TOKEN = "AC0123456789abcdef", "an auth token"
HERE: Final = Path(__file__).parent
PYTHON: Final = HERE / ".cache" / "bots" / "bin" / "python"


class Program:
    """A bot in a process of its own."""

    def __init__(self, script: str, port: int, web: str) -> None:
        twilio = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_BASE_URL": web}
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [PYTHON, HERE / "bots" / script, str(port)],
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
def line(simulated: SimulatedMeta, port: int, tmp_path: Path) -> Iterator[Line]:
    settings = {
        "VOICE_AI_URL": f"ws://127.0.0.1:{port}/bot",
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
    line: Line, simulated: SimulatedMeta, port: int
) -> None:
    if not PYTHON.exists():
        pytest.skip("Pipecat is not installed: tests/interop/install.sh")
    bot = Program("pipecat_bot.py", port, line.base)
    try:
        until(lambda: reachable(port) or bot.ended, "the bot", timeout_s=60)
        caller = Caller(simulated, PAGE, "7001", tone_hz=620)  # which is no speech
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
    finally:
        bot.end()


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
