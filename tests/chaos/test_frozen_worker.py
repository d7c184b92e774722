"""A media worker stands still for longer than its lease and wakes: what reaches the consumer, Graph and the log.

The consumer's telephone stays off the hook after our `terminate`, which real ones do not, to hear what comes.
"""

import contextlib
from collections.abc import Iterator

import pytest

from shared.calls import facts
from tests.acceptance.standin import Consumer, Meta, Reply, until
from tests.chaos.exchange import CONVERSE, DEAD_AIR_AT_MOST_S, FORWARD, OBEY, Exchange, now_ms

TERMINATED_BUT_STILL_THERE = Reply(status=200, body={"success": True})


def kinds(datagrams: list[bytes]) -> dict[str, int]:
    """Count datagrams by what they are (RFC 7983, RFC 5761)."""
    counted = {"stun": 0, "dtls": 0, "rtcp": 0, "rtp": 0}
    for data in datagrams:
        if data[0] < 4:
            counted["stun"] += 1
        elif 19 < data[0] < 64:
            counted["dtls"] += 1
        else:
            counted["rtcp" if 192 <= data[1] < 224 else "rtp"] += 1
    return counted


@contextlib.contextmanager
def lost_to_a_freeze(exchange: Exchange, consumer: Consumer) -> Iterator[None]:
    """Have a conversation whose worker is frozen until another one has ended it; then it wakes, and ends."""
    consumer.replies["terminate"] = [TERMINATED_BUT_STILL_THERE]
    consumer.ring().await_sound(0.5)
    name = exchange.holder(consumer)
    with exchange.frozen(name) as frozen:
        exchange.await_successor(consumer, since_ms=now_ms())
        assert exchange.outcome_of(consumer) == "lost"
        assert consumer.silence_s <= DEAD_AIR_AT_MOST_S
        yield
    assert exchange.processes.pop(name).wait() != 0
    assert "worker.fenced" in frozen.said


@pytest.mark.parametrize("page", [CONVERSE, FORWARD])
def test_a_frozen_worker_that_wakes_sends_one_tick_at_the_most_and_no_goodbye(
    exchange: Exchange, meta: Meta, page: str
) -> None:
    consumer = meta.consumer(page)
    with lost_to_a_freeze(exchange, consumer):
        came = len(consumer.datagrams)
    late = kinds(consumer.datagrams[came:])
    assert late["rtp"] <= 1, late
    assert late["rtcp"] == late["dtls"] == 0, late
    assert not consumer.dismissed
    assert len(consumer.actions("terminate")) == 1


def test_what_a_frozen_worker_says_when_it_wakes_is_refused_by_the_log(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(OBEY)
    with lost_to_a_freeze(exchange, consumer):
        told = len(exchange.log_of(consumer.call_id))
        (exchange.home / f"{consumer.call_id}.enough").touch()  # its handler hangs up as soon as it wakes
    assert exchange.log_of(consumer.call_id)[told:] == []
    assert len(consumer.actions("terminate")) == 1


def test_an_action_that_a_frozen_worker_has_queued_never_reaches_graph(exchange: Exchange, meta: Meta) -> None:
    consumer, before = meta.consumer(CONVERSE), exchange.queued()
    with exchange.frozen("action"):
        consumer.ring()
        old = exchange.await_fact(consumer, facts.OfferMade)
        until(lambda: exchange.queued() == before + 1, "its accept in the queue")
        with exchange.frozen(name := exchange.holder(consumer)):
            exchange.await_successor(consumer, since_ms=now_ms())
            until(lambda: exchange.queued() == before + 2, "the successor's accept in the queue")
    assert exchange.processes.pop(name).wait() != 0
    consumer.await_sound(0.5)
    (accept,) = consumer.actions("accept")
    assert accept.body["session"]["sdp"] != old.sdp
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"
