"""The desk through real processes: consumers who wait, agents who take their calls, and what becomes of them."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import httpx
import numpy as np
import pytest

from shared.calls import agent_facts, facts
from tests.acceptance.agent import Agent
from tests.acceptance.line import PIPELINE, Line, free_port, readiness, write_tone
from tests.acceptance.standin import RATE_HZ, Consumer, Meta, Samples, until

DESK: Final = "108812345678931"
MUSIC_HZ, CALLER_HZ = 330, 620
TOLERANCE_HZ = 5


@pytest.fixture(scope="module")
def line(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = {"LEASE_SECONDS": "3", "DESK_QUEUE": "sales", "DESK_MUSIC": "music.wav", "DESK_OVERFLOW_SECONDS": "30"}
    settings |= {"VOICEMAIL_GREETING": "music.wav", "VOICEMAIL_SILENCE_SECONDS": "1"}
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


@pytest.fixture(scope="module")
def staff(line: Line, meta: Meta) -> Iterator[dict[str, Agent]]:
    """Two agents of sales, one of support, and a supervisor, who came by another web process."""
    agents = {}
    line.start("web.2", PORT=str(port := free_port()))
    other = f"http://127.0.0.1:{port}"
    until(lambda: readiness(other) == "ready", "the second web process is ready")
    for name, hz, how in (
        ("ada", 800, ("--queue", "sales")),
        ("bob", 1000, ("--queue", "sales")),
        ("cat", 1200, ("--queue", "support")),
        ("sue", 1400, ("--queue", "sales", "--supervisor")),
    ):
        password = made(line, "add", name, *how)["password"]
        agents[name] = Agent(meta, line.base, name, password, hz).sit_down(other if name in ("bob", "sue") else "")
    yield agents
    for agent in agents.values():
        agent.stand_up()


@pytest.fixture
def ada(staff: dict[str, Agent]) -> Agent:
    return staff["ada"]


@pytest.fixture
def bob(staff: dict[str, Agent]) -> Agent:
    return staff["bob"]


@pytest.fixture
def consumer(line: Line, meta: Meta, staff: dict[str, Agent]) -> Iterator[Consumer]:
    """Somebody who calls, and waits; who has gone from the desk at the end."""
    calls = meta.consumer(DESK, hz=CALLER_HZ).ring()
    staff["sue"].await_desk(lambda desk: waits(desk, calls), "a caller")
    yield calls
    if not calls.gone.is_set():
        calls.hang_up()
    for agent in staff.values():
        agent.await_desk(lambda desk: desk["me"]["state"] == "ready" and not waits(desk, calls), "nobody")


def waits(desk: dict[str, Any], consumer: Consumer) -> dict[str, Any]:
    """Return how somebody waits, as the desk shows it; empty if nobody does."""
    return next((each for each in desk["waiting"] if each["call"] == consumer.call_id), {})


def hears(one: Consumer, *several_hz: int) -> None:
    """Wait until one hears these tones, and no other as loud."""

    def heard() -> bool:
        return strongest(one.await_sound(0.4), len(several_hz)) == pytest.approx(sorted(several_hz), abs=TOLERANCE_HZ)

    until(heard, f"{several_hz} Hz")


def strongest(sound: Samples, number: int) -> list[float]:
    """Return so many of the strongest frequencies, in order."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    found = []
    for _ in range(number):
        at = int(np.argmax(spectrum))
        found.append(at * RATE_HZ / len(sound))
        spectrum[max(0, at - 30) : at + 30] = 0
    return sorted(found)


def test_where_nobody_is_at_the_desk_a_message_is_taken(line: Line, meta: Meta) -> None:
    calls = meta.consumer(DESK, hz=CALLER_HZ).ring()
    line.await_fact(calls, facts.RecordingStarted)
    assert line.await_fact(calls, agent_facts.Queued).queue == "sales"
    calls.hang_up()
    assert line.outcome_of(calls) == "completed"


def test_a_caller_waits_with_music_and_talks_to_the_agent_who_takes_the_call(
    line: Line, consumer: Consumer, ada: Agent, bob: Agent
) -> None:
    shown = waits(ada.await_desk(lambda desk: waits(desk, consumer), "a caller"), consumer)
    assert (shown["caller"], shown["queue"], shown["for"]) == (f"…{consumer.psid[-4:]}", "sales", None)
    hears(consumer, MUSIC_HZ)
    ada.take(consumer.call_id)
    bob.tell("take", call=consumer.call_id)
    assert bob.await_message("call", call=consumer.call_id)["because"] == "taken"
    hears(consumer, ada.hz)
    hears(ada, CALLER_HZ)
    mark = ada.mark
    ada.tell("hang_up")
    assert ada.await_state("ended", after=mark)["because"] == "hung_up"
    assert line.outcome_of(consumer) == "completed"
    ada.tell("note", call=consumer.call_id, text="wants an offer")
    ada.await_message("noted", call=consumer.call_id)
    assert line.await_fact(consumer, agent_facts.NoteWritten).text == "wants an offer"


def test_on_hold_the_caller_hears_music_and_neither_hears_the_other(consumer: Consumer, ada: Agent) -> None:
    ada.take(consumer.call_id)
    hears(consumer, ada.hz)
    mark = ada.mark
    ada.tell("hold", on=True)
    ada.await_state("held", after=mark)
    hears(consumer, MUSIC_HZ)
    until(lambda: ada.silence_s > 0.4, "silence for the agent")
    mark = ada.mark
    ada.tell("hold", on=False)
    ada.await_state("live", after=mark)
    hears(consumer, ada.hz)
    hears(ada, CALLER_HZ)


def test_a_call_is_transferred_to_a_colleague_and_on_to_a_queue(
    consumer: Consumer, ada: Agent, bob: Agent, staff: dict[str, Agent]
) -> None:
    ada.take(consumer.call_id)
    mark = ada.mark
    ada.tell("transfer", to={"agent": "bob"})
    assert ada.await_state("ended", after=mark)["because"] == "transferred"
    assert waits(bob.await_desk(lambda desk: waits(desk, consumer), "the call"), consumer)["for"] == "bob"
    hears(consumer, MUSIC_HZ)
    assert not waits(ada.last("desk"), consumer)
    bob.take()
    hears(consumer, bob.hz)
    hears(bob, CALLER_HZ)
    bob.tell("transfer", to={"queue": "support"})
    staff["cat"].await_desk(lambda desk: waits(desk, consumer), "the call")
    staff["cat"].take(consumer.call_id)
    hears(consumer, staff["cat"].hz)


def test_a_supervisor_hears_both_and_is_heard_by_nobody(
    consumer: Consumer, ada: Agent, staff: dict[str, Agent]
) -> None:
    sue = staff["sue"]
    ada.take(consumer.call_id)
    sue.await_desk(lambda desk: [each for each in desk["calls"] if each["state"] == "live"], "the call")
    sue.tell("listen", call=consumer.call_id)
    assert sue.await_message("call", state="live")["listening"]
    hears(sue, ada.hz, CALLER_HZ)
    hears(consumer, ada.hz)
    hears(ada, CALLER_HZ)
    mark = sue.mark
    sue.tell("leave")
    assert sue.await_state("ended", after=mark)["because"] == "hung_up"
    hears(consumer, ada.hz)
    hears(ada, CALLER_HZ)


def test_whose_agent_is_lost_waits_at_the_head_of_the_queue(
    consumer: Consumer, meta: Meta, ada: Agent, bob: Agent
) -> None:
    other = meta.consumer(DESK, hz=CALLER_HZ).ring()
    ada.take(consumer.call_id)
    bob.await_desk(lambda desk: waits(desk, other), "another caller")
    mark = ada.mark
    ada.drop()
    assert ada.await_state("ended", after=mark)["because"] == "connection_lost"
    desk = bob.await_desk(lambda desk: waits(desk, consumer), "the call again")
    assert [each["call"] for each in desk["waiting"]] == [consumer.call_id, other.call_id]
    hears(consumer, MUSIC_HZ)
    other.hang_up()
    assert bob.take()["call"] == consumer.call_id
    mark = bob.mark
    consumer.hang_up()
    assert bob.await_state("ended", after=mark)["because"] == "caller_left"


def test_who_opens_the_desk_elsewhere_takes_its_place_and_goes_on(
    meta: Meta, consumer: Consumer, ada: Agent, bob: Agent
) -> None:
    ada.take(consumer.call_id)
    again = Agent(meta, bob.base, "ada", "", ada.hz)  # by the other web process
    again.cookie = ada.cookie
    again.sit_down()
    assert again.await_message("call")["call"] == consumer.call_id
    until(lambda: ada.closed_with == 4409, "the first page is let go")
    hears(consumer, ada.hz)
    again.hz = 900
    assert again.take(consumer.call_id)["call"] == consumer.call_id
    hears(consumer, again.hz)
    hears(again, CALLER_HZ)
    assert [talk["state"] for talk in again.await_desk(lambda desk: desk["calls"], "the call")["calls"]] == ["live"]
    again.stand_up()
    ada.sit_down()


def test_the_call_of_a_worker_that_was_killed_leaves_the_desk(
    line: Line, meta: Meta, consumer: Consumer, ada: Agent, staff: dict[str, Agent]
) -> None:
    waiting = meta.consumer(DESK, hz=CALLER_HZ).ring()
    ada.take(consumer.call_id)
    staff["sue"].await_desk(lambda desk: waits(desk, waiting), "who waits")
    mark = ada.mark
    line.start("media.2")
    line.processes["media"].signal(signal.SIGKILL)
    line.processes.pop("media").wait()
    assert ada.await_state("ended", after=mark)["because"] == "connection_lost"
    staff["sue"].await_desk(lambda desk: not waits(desk, waiting) and not desk["calls"], "an empty desk")


def test_nobody_gets_in_without_a_session_of_the_desk_s_own_page(line: Line, ada: Agent) -> None:
    refused = httpx.post(f"{line.base}/desk/login", data={"name": "ada", "password": "guess"})
    assert (refused.status_code, "wrong" in refused.text) == (401, True)
    cookie = httpx.post(f"{line.base}/desk/login", data=ada.credentials).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    shown = httpx.get(f"{line.base}/desk", headers={"cookie": ada.cookie})
    assert "default-src 'none'" in shown.headers["content-security-policy"]
