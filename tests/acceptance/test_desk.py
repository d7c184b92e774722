"""The desk through real processes: consumers who wait, agents who take their calls, and what becomes of them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from shared.calls import attended
from tests.acceptance.agent import Agent
from tests.acceptance.line import PIPELINE, Line, write_tone
from tests.acceptance.standin import Consumer, Meta, dominant_hz

DESK: Final = "108812345678931"
MUSIC_HZ, CALLER_HZ = 330, 620
TOLERANCE_HZ = 5


@pytest.fixture(scope="module")
def line(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = {"DESK_QUEUE": "sales", "DESK_MUSIC": "music.wav", "DESK_OVERFLOW_SECONDS": "30"}
    with Line(tmp_path_factory.mktemp("desk"), meta, **settings) as running:
        with (running.home / "pages.toml").open("a") as tables:
            tables.write(f'[{DESK}]\ntoken = "x"\nhandler = "workers.handlers.desk:answer"\n')
        write_tone(running.home / "music.wav", hz=MUSIC_HZ, seconds=2)
        running.start(*PIPELINE)
        yield running.await_ready()


def made(line: Line, *arguments: str, stdin: str = "") -> Any:
    ran = subprocess.run(
        [sys.executable, "-m", "pageline", "agents", *arguments, "--json"],
        env=line.settings,
        cwd=line.home,
        input=stdin,
        text=True,
        capture_output=True,
        check=True,
        timeout=20,
    )
    return json.loads(ran.stdout)


Staff = Callable[..., Agent]


@pytest.fixture(scope="module")
def ada(line: Line, meta: Meta) -> Iterator[Agent]:
    password = made(line, "add", "ada", "--queue", "sales")["password"]
    agent = Agent(meta, line.base, "ada", password, hz=800)
    yield agent
    agent.stand_up()


def caller(meta: Meta) -> Consumer:
    return meta.consumer(DESK, hz=CALLER_HZ).ring()


def hears(one: Consumer, hz: int) -> None:
    assert dominant_hz(one.await_sound(0.6)) == pytest.approx(hz, abs=TOLERANCE_HZ)


def test_a_caller_waits_with_music_and_talks_to_the_agent_who_takes_the_call(
    line: Line, meta: Meta, ada: Agent
) -> None:
    ada.sit_down()
    consumer = caller(meta)
    desk = ada.await_desk(lambda desk: desk["waiting"], "a caller")
    assert desk["waiting"][0]["caller"] == f"…{consumer.psid[-4:]}"
    hears(consumer, MUSIC_HZ)
    ada.take(consumer.call_id)
    hears(consumer, ada.hz)
    hears(ada, CALLER_HZ)
    mark = ada.mark
    ada.tell("hang_up")
    assert ada.await_state("ended", after=mark)["because"] == "hung_up"
    assert line.outcome_of(consumer) == "completed"
    assert line.await_fact(consumer, attended.AgentLeft).because == "hung_up"
