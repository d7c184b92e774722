"""More calls than a media worker can hold: its own sound well, the others wait and are then rejected on the record."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.calls import facts
from shared.wire import Wire
from tests.acceptance.crowd import Listener, gather_crowd, ring_all
from tests.acceptance.line import PIPELINE, Line, readiness, write_tone
from tests.acceptance.standin import Consumer, Meta, until

OFFERED = 500
CAPACITY = 20
DEADLINE_S = 8
PILOT_HZ = 440
GAPS_AT_MOST = 0.02

pytestmark = pytest.mark.alone
"""What concealment hides; here it also covers a stall or two of a machine that others use."""

DESK, HOG = "1001", "1002"


def heard_well(listener: Listener) -> bool:
    heard = listener.listen()
    print(f"{listener.call_id}: {heard}")
    return abs(heard.dominant_hz - PILOT_HZ) <= 2 and heard.gaps <= GAPS_AT_MOST


def asked(meta: Meta, crowd: Sequence[Consumer]) -> dict[str, list[str]]:
    """Return what Graph was asked to do, by call."""
    actions: dict[str, list[str]] = {consumer.call_id: [] for consumer in crowd}
    for request in tuple(meta.requests):
        if (call_id := request.body.get("call_id")) in actions:
            actions[call_id].append(request.action)
    return actions


def logs_of(line: Line, crowd: Sequence[Consumer]) -> list[list[facts.Fact]]:
    """Return the facts of all these calls."""

    async def read() -> list[list[facts.Fact]]:
        async with Wire.from_url(line.valkey.url, name="acceptance") as wire:
            logs = await asyncio.gather(*(Bus(wire).read_log(consumer.call_id) for consumer in crowd))
            return [[entry.fact for entry in log] for log in logs]

    return asyncio.run(read())


def outcomes(log: Sequence[facts.Fact]) -> list[str]:
    return [fact.outcome for fact in log if isinstance(fact, facts.Closed)]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    home = tmp_path_factory.mktemp("overload")
    with Meta() as meta, Line(home, meta) as running:
        shutil.copy(Path(__file__).with_name("frontdesk.py"), home)
        write_tone(home / "pilot.wav", hz=PILOT_HZ, seconds=90)
        with (home / "pages.toml").open("a") as pages:
            pages.write(f'[{DESK}]\ntoken = "x"\nhandler = "frontdesk:answer"\n')
            pages.write(f'[{HOG}]\ntoken = "x"\nhandler = "frontdesk:hog"\n')
        running.start(*PIPELINE, MEDIA_CAPACITY=str(CAPACITY), ACCEPT_DEADLINE_SECONDS=str(DEADLINE_S))
        yield running.await_ready()


@pytest.fixture(scope="module")
def crowd(line: Line) -> list[Listener]:
    """Everybody who rang at once; as many as there is room for are talking, and the others were sent away."""
    crowd = gather_crowd(line.meta, DESK, OFFERED)
    ring_all(line.meta, crowd)
    until(
        lambda: sum(request.action == "reject" for request in tuple(line.meta.requests)) >= OFFERED - CAPACITY,
        f"{OFFERED - CAPACITY} calls rejected",
        timeout_s=60,
    )
    return crowd


@pytest.fixture(scope="module")
def talking(crowd: list[Listener]) -> list[Listener]:
    return [listener for listener in crowd if listener.packets]


def test_as_many_as_there_is_room_for_are_answered_and_the_others_rejected(line: Line, crowd: list[Listener]) -> None:
    assert Counter(map(tuple, asked(line.meta, crowd).values())) == {
        ("accept",): CAPACITY,
        ("reject",): OFFERED - CAPACITY,
    }


def test_those_answered_hear_no_gap_while_the_others_are_sent_away(talking: list[Listener]) -> None:
    assert len(talking) == CAPACITY
    assert [listener for listener in talking if not heard_well(listener)] == []


def test_who_was_sent_away_had_waited_to_the_end_and_is_on_the_record(
    line: Line, crowd: list[Listener], talking: list[Listener]
) -> None:
    sent_away = [listener for listener in crowd if listener not in talking]
    until(lambda: all(outcomes(log) for log in logs_of(line, sent_away)), "all closed")
    for log in logs_of(line, sent_away):
        assert [type(fact).__name__ for fact in log[:3]] == ["Arrived", "DeadlinePassed", "Claimed"]
        arrived, passed = log[0], log[1]
        assert isinstance(arrived, facts.Arrived)
        assert passed.at_ms >= arrived.answer_by_ms
        assert outcomes(log) == ["expired"]


def test_who_waits_is_answered_when_somebody_leaves(line: Line, talking: list[Listener]) -> None:
    (newcomer,) = gather_crowd(line.meta, DESK, 1)
    newcomer.ring()
    assert not [fact for fact in line.log_of(newcomer.call_id) if isinstance(fact, facts.Claimed)]
    talking[0].hang_up()
    claimed = line.await_fact(newcomer, facts.Claimed)
    assert claimed.at_ms >= line.await_fact(talking[0], facts.Closed).at_ms
    until(lambda: newcomer.packets > 25, "half a second of sound")
    newcomer.hang_up()
    assert line.outcome_of(newcomer) == "completed"


def test_a_worker_whose_ticks_run_late_takes_nobody_in_until_they_run_in_time(
    line: Line, talking: list[Listener]
) -> None:
    """There is room for all; but a handler keeps the interpreter to itself, and more calls would make it worse."""
    *others, stays = talking
    for listener in others:
        listener.hang_up()
    for listener in others:
        assert line.outcome_of(listener) == "completed"
    media = line.processes["media"]
    until(lambda: media.said.count("worker.recovered") == media.said.count("worker.overloaded"), "calm")
    before = media.said.count("worker.overloaded")
    hog = line.meta.consumer(HOG).ring()
    line.await_fact(hog, facts.LegConnected)
    until(lambda: media.said.count("worker.overloaded") > before, "the worker notices")
    until(lambda: readiness(line.base) == "degraded", "it asks for no more calls")
    (newcomer,) = gather_crowd(line.meta, DESK, 1)
    newcomer.ring()
    hog.hang_up()
    claimed = line.await_fact(newcomer, facts.Claimed)
    assert media.said.count("worker.recovered") > before
    assert claimed.at_ms > line.await_fact(hog, facts.Closed).at_ms
    until(lambda: newcomer.packets > 25, "half a second of sound")
    for listener in (newcomer, stays):
        listener.hang_up()
        assert line.outcome_of(listener) == "completed"
