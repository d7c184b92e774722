"""A media worker dies, freezes or drains with a call in its hands: what the consumer and Graph notice.

Real processes, real signals. Waiting for the promises' seconds is fine here.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.calls import facts
from tests.acceptance.line import Line
from tests.acceptance.standin import Consumer, Meta, Reply, until

LEASE_S = 3
TAKEN_OVER_WITHIN_S = LEASE_S + 2
PAGE, HESITANT = "1001", "1002"


@pytest.fixture(scope="module")
def meta() -> Iterator[Meta]:
    with Meta() as running:
        yield running


@pytest.fixture
def line(meta: Meta, tmp_path: Path) -> Iterator[Line]:
    shutil.copy(Path(__file__).with_name("switchboard.py"), tmp_path)
    settings = {
        "LEASE_SECONDS": str(LEASE_S),
        "PAGE_TOKENS": f"{PAGE}=x,{HESITANT}=x",
        "CALL_HANDLER": "switchboard:answer",
        "DRAIN_SECONDS": "6",
    }
    with Line(tmp_path, meta, **settings) as running:
        running.start("web", "action", "media", "media.2")
        running.await_ready()
        until(lambda: "worker.joined" in running.processes["media"].said, "the first media worker")
        until(lambda: "worker.joined" in running.processes["media.2"].said, "the second media worker")
        yield running


def holder(line: Line, consumer: Consumer) -> str:
    """Return the name of the process that owns the call."""
    claims = [fact for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.Claimed)]
    pid = int(claims[-1].worker.split("-")[-2])
    return next(name for name, process in line.processes.items() if process.pid == pid)


def kill(line: Line, name: str) -> None:
    process = line.processes.pop(name)
    process.signal(signal.SIGKILL)
    process.wait()


def taken_over(line: Line, consumer: Consumer) -> facts.Claimed:
    """Wait for the second claim, for no longer than was promised."""

    def second() -> list[facts.Claimed]:
        return [fact for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.Claimed) and fact.epoch == 2]

    return until(second, f"a successor for {consumer.call_id}", timeout_s=TAKEN_OVER_WITHIN_S + 1)[0]


def test_a_live_call_whose_worker_is_killed_is_ended_in_time_and_on_lost_runs(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGE).ring()
    consumer.await_sound(0.5)
    last_heard_of_ms = line.log_of(consumer.call_id)[-1].at_ms
    kill(line, holder(line, consumer))
    assert taken_over(line, consumer).at_ms > last_heard_of_ms
    consumer.await_action("terminate", timeout_s=5)
    assert line.outcome_of(consumer) == "lost"
    until((line.home / f"{consumer.call_id}.lost").exists, "on_lost")
    assert len(consumer.actions("accept")) == 1
    assert len(consumer.actions("terminate")) == 1


def test_a_ringing_call_whose_worker_is_killed_is_answered_by_another(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(HESITANT).ring()
    line.await_fact(consumer, facts.HandlerStarted)
    kill(line, holder(line, consumer))
    taken_over(line, consumer)
    consumer.await_sound(0.5)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 1


def test_a_call_whose_accept_was_under_way_is_terminated_and_never_accepted_again(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGE)
    consumer.replies["accept"] = [Reply(after_s=4)]
    consumer.ring()
    consumer.await_action("accept")
    kill(line, holder(line, consumer))
    taken_over(line, consumer)
    consumer.await_action("terminate", timeout_s=5)
    assert line.outcome_of(consumer) == "lost"
    assert len(consumer.actions("accept")) == 1


def test_a_terminate_that_comes_while_nobody_owns_the_call_is_handled_by_the_successor(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGE).ring()
    consumer.await_sound(0.5)
    kill(line, holder(line, consumer))
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert consumer.actions("terminate") == []


def test_a_frozen_worker_that_wakes_says_nothing_more(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGE).ring()
    consumer.await_sound(0.5)
    name = holder(line, consumer)
    frozen = line.processes.pop(name)
    os.kill(frozen.pid, signal.SIGSTOP)
    taken_over(line, consumer)
    assert line.outcome_of(consumer) == "lost"
    told = len(line.log_of(consumer.call_id))
    os.kill(frozen.pid, signal.SIGCONT)
    assert frozen.wait() != 0
    late = [fact for fact in line.log_of(consumer.call_id)[told:] if fact.epoch == 1]
    assert late == []
    assert len(consumer.actions("terminate")) == 1


def test_a_draining_worker_hands_back_what_it_has_not_accepted(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(HESITANT).ring()
    line.await_fact(consumer, facts.HandlerStarted)
    draining = line.processes.pop(holder(line, consumer))
    draining.signal(signal.SIGTERM)
    consumer.await_sound(0.5)
    assert draining.wait() == 0
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert line.await_fact(consumer, facts.HandedBack)
    assert len(consumer.actions("accept")) == 1


def test_a_draining_worker_lets_a_live_call_end_by_itself(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGE).ring()
    consumer.await_sound(0.5)
    draining = line.processes.pop(holder(line, consumer))
    draining.signal(signal.SIGTERM)
    until(lambda: "worker.draining" in draining.said, "the drain")
    consumer.await_sound(1.0)
    consumer.hang_up()
    assert draining.wait() == 0
    assert line.outcome_of(consumer) == "completed"
    assert consumer.actions("terminate") == []


@contextlib.contextmanager
def valkey_stopped(line: Line) -> Iterator[None]:
    valkey_pid = int((line.valkey.home / "valkey.pid").read_text().split()[0])
    os.kill(valkey_pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey_pid, signal.SIGCONT)


def test_an_outage_of_redis_longer_than_a_lease_costs_nobody_their_call(line: Line, meta: Meta) -> None:
    consumers = [meta.consumer(PAGE).ring() for _ in range(2)]
    for consumer in consumers:
        consumer.await_sound(0.5)
    with valkey_stopped(line):
        for consumer in consumers:  # at the same time, for both hear all the while
            consumer.await_sound(LEASE_S + 2)
    for consumer in consumers:
        consumer.await_sound(1.0)
        consumer.hang_up()
        assert line.outcome_of(consumer) == "completed"
        assert [fact.epoch for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.Claimed)] == [1]
        assert consumer.actions("terminate") == []


def test_an_outage_beyond_the_grace_ends_the_conversation_then_and_tells_meta_when_it_is_over(
    meta: Meta, tmp_path: Path
) -> None:
    with Line(tmp_path, meta, REDIS_GRACE_SECONDS="2", LEASE_SECONDS=str(LEASE_S)) as line:
        line.start("web", "action", "media")
        line.await_ready()
        consumer = meta.consumer().ring()
        consumer.await_sound(0.5)
        with valkey_stopped(line):
            until(lambda: consumer.left, "the end of the conversation", timeout_s=15)
            assert consumer.actions("terminate") == []
        consumer.await_action("terminate")
        assert line.outcome_of(consumer) == "completed"
        asked = [fact.by for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.HangUpAsked)]
        assert asked == ["redis_away"]
