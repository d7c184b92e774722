"""A platform replaces processes: SIGTERM, or SIGINT from a terminal, to one worker or to all of them at once."""

import signal
import time

import pytest

from shared.calls import facts
from tests.acceptance.line import readiness
from tests.acceptance.standin import Meta, until
from tests.chaos.exchange import CONVERSE, DRAIN_S, HESITATE, Exchange, heard_last_words

ENDED_WITHIN_S = DRAIN_S + 5.0
TOLD_TO_END = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", TOLD_TO_END)
def test_a_draining_worker_hands_back_what_it_has_not_accepted(
    exchange: Exchange, meta: Meta, number: signal.Signals
) -> None:
    consumer = meta.consumer(HESITATE).ring()
    exchange.await_fact(consumer, facts.HandlerStarted)
    draining = exchange.processes.pop(exchange.holder(consumer))
    draining.signal(number)
    consumer.await_sound(0.5)
    assert draining.wait() == 0
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"
    assert exchange.await_fact(consumer, facts.HandedBack)
    assert len(consumer.actions("accept")) == 1


@pytest.mark.parametrize("number", TOLD_TO_END)
def test_a_draining_worker_lets_live_calls_end_by_themselves_and_terminates_the_rest_in_time(
    exchange: Exchange, meta: Meta, number: signal.Signals
) -> None:
    brief, endless = meta.consumer(CONVERSE).ring(), meta.consumer(CONVERSE).ring()
    brief.await_sound(0.3)
    endless.await_sound(0.3)
    draining = [exchange.processes.pop(name) for name in ("media", "media.2")]
    for process in draining:
        process.signal(number)
    told_s = time.monotonic()
    until(lambda: all("worker.draining" in process.said for process in draining), "the drain")
    brief.await_sound(DRAIN_S - 1.5, timeout_s=DRAIN_S)
    brief.hang_up()
    assert not heard_last_words(brief)
    assert [process.wait(ENDED_WITHIN_S) for process in draining] == [0, 0]
    assert time.monotonic() - told_s <= ENDED_WITHIN_S
    assert exchange.outcome_of(brief) == exchange.outcome_of(endless) == "completed"
    assert brief.actions("terminate") == []
    assert len(endless.actions("terminate")) == 1
    assert endless.left
    assert heard_last_words(endless)
    assert endless.silence_s <= 3


def test_a_platform_that_stops_everything_at_once_loses_nobody(exchange: Exchange, meta: Meta) -> None:
    live, ringing = meta.consumer(CONVERSE).ring(), meta.consumer(HESITATE).ring()
    live.await_sound(0.3)
    exchange.await_fact(ringing, facts.HandlerStarted)
    stopping = {name: exchange.processes.pop(name) for name in ("web", "media", "media.2", "action")}
    told_s = time.monotonic()
    for process in stopping.values():
        process.signal(signal.SIGTERM)
    until(lambda: readiness(exchange.base) != "ready", "the platform sees that nobody is to be sent here", timeout_s=3)
    assert {name: process.wait(ENDED_WITHIN_S) for name, process in stopping.items()} == dict.fromkeys(stopping, 0)
    assert time.monotonic() - told_s <= ENDED_WITHIN_S
    assert len(live.actions("terminate")) == 1
    assert heard_last_words(live)
    assert exchange.outcome_of(live) == "completed"
    exchange.open("web", "action", "media")
    ringing.await_sound(0.5)
    ringing.hang_up()
    assert exchange.outcome_of(ringing) == "completed"
