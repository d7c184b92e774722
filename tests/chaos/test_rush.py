"""Many calls in the same moment are taken up one after the other, so that those who talk already hear nothing of it."""

from shared.calls import facts
from tests.acceptance.standin import Meta, envelope
from tests.chaos.exchange import HESITATE, Exchange

RUSH = 20
APART_MS = 5
"""To take a call up costs about a millisecond of a tick's twenty; one every five of them is let in."""
TIMER_MS = 3
"""Timers and the log count in whole milliseconds."""


def test_of_a_rush_one_is_taken_up_after_the_other(idle_exchange: Exchange, meta: Meta) -> None:
    exchange = idle_exchange
    exchange.open("web", "media")
    crowd = [meta.consumer(HESITATE) for _ in range(RUSH)]
    assert meta.post(envelope(*(consumer.connect for consumer in crowd))) == 200
    first_ms = min(exchange.await_fact(consumer, facts.Claimed).at_ms for consumer in crowd)
    waited_ms = sorted(exchange.await_fact(consumer, facts.HandlerStarted).at_ms - first_ms for consumer in crowd)
    hasty = [(place, ms) for place, ms in enumerate(waited_ms) if ms < place * APART_MS - TIMER_MS]
    assert hasty == []
    assert meta.post(envelope(*(consumer.terminate for consumer in crowd))) == 200
    assert {exchange.outcome_of(consumer) for consumer in crowd} == {"cancelled"}
