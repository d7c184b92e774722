"""A media worker is killed with a call in its hands, in every phase: what the consumer and Graph notice."""

import pytest

from shared.calls import facts
from tests.acceptance.standin import Consumer, Meta, Reply, until
from tests.chaos.exchange import ANNOUNCE, CONVERSE, HESITATE, Exchange, assert_ended_at_meta


def test_a_ringing_call_whose_worker_is_killed_is_answered_by_another(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(HESITATE).ring()
    exchange.await_fact(consumer, facts.HandlerStarted)
    killed_ms = exchange.kill(exchange.holder(consumer))
    exchange.await_successor(consumer, since_ms=killed_ms)
    consumer.await_sound(0.5)
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 1


def test_a_call_whose_accept_had_not_been_sent_is_offered_anew_and_the_old_offer_never_leaves(
    exchange: Exchange, meta: Meta
) -> None:
    with exchange.frozen("action"):
        consumer = meta.consumer(CONVERSE).ring()
        old = exchange.await_fact(consumer, facts.OfferMade)
        killed_ms = exchange.kill(exchange.holder(consumer))
        exchange.await_successor(consumer, since_ms=killed_ms)
        new = until(
            lambda: [
                fact
                for fact in exchange.log_of(consumer.call_id)
                if isinstance(fact, facts.OfferMade) and fact.epoch == 2
            ],
            "an offer of the successor's",
        )[0]
        assert new.sdp != old.sdp
    consumer.await_sound(0.5)
    (accept,) = consumer.actions("accept")
    assert accept.body["session"]["sdp"] == new.sdp
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"


def test_a_call_whose_accept_was_under_way_is_terminated_and_never_accepted_again(
    exchange: Exchange, meta: Meta
) -> None:
    consumer = meta.consumer(CONVERSE)
    consumer.replies["accept"] = [Reply(act=True, after_s=1)]
    consumer.ring().await_action("accept")
    killed_ms = exchange.kill(exchange.holder(consumer))
    exchange.await_successor(consumer, since_ms=killed_ms)
    assert exchange.outcome_of(consumer) == "lost"
    assert_ended_at_meta(consumer)
    assert exchange.knows_it_lost(consumer)
    assert len(consumer.actions("accept")) == 1


def test_an_answer_for_a_worker_that_is_dead_by_the_time_it_comes_is_refused_by_the_log(
    exchange: Exchange, meta: Meta
) -> None:
    consumer = meta.consumer(CONVERSE)
    consumer.replies["accept"] = [Reply(act=True, after_s=4.5)]
    consumer.ring().await_action("accept")
    killed_ms = exchange.kill(exchange.holder(consumer))
    exchange.await_successor(consumer, since_ms=killed_ms)
    assert exchange.outcome_of(consumer) == "lost"
    until(lambda: answered_late(exchange, consumer), "Graph's late answer")
    assert not [fact for fact in exchange.log_of(consumer.call_id) if isinstance(fact, facts.AnswerReceived)]


def answered_late(exchange: Exchange, consumer: Consumer) -> bool:
    said = exchange.processes["action"].said.splitlines()
    return any(consumer.call_id in line and '"action": "accept"' in line and "settled" in line for line in said)


def test_a_call_that_was_connecting_is_terminated(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(CONVERSE)
    consumer.reachable = False
    consumer.ring()
    exchange.await_fact(consumer, facts.AnswerReceived)
    killed_ms = exchange.kill(exchange.holder(consumer))
    exchange.await_successor(consumer, since_ms=killed_ms)
    assert exchange.outcome_of(consumer) == "lost"
    assert_ended_at_meta(consumer)
    assert exchange.knows_it_lost(consumer)
    assert len(consumer.actions("accept")) == 1


def test_a_live_call_whose_worker_is_killed_is_ended_in_time_and_on_lost_runs(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(CONVERSE).ring()
    consumer.await_sound(0.5)
    killed_ms = exchange.kill(exchange.holder(consumer))
    exchange.await_successor(consumer, since_ms=killed_ms)
    assert exchange.outcome_of(consumer) == "lost"
    assert_ended_at_meta(consumer)
    assert exchange.knows_it_lost(consumer)
    assert len(consumer.actions("accept")) == 1


def test_a_call_that_was_ending_is_ended_by_the_successor(exchange: Exchange, meta: Meta) -> None:
    consumer = meta.consumer(ANNOUNCE)
    consumer.replies["terminate"] = [Reply(after_s=5, status=500)]
    consumer.ring().await_action("terminate")
    killed_ms = exchange.kill(exchange.holder(consumer))
    exchange.await_successor(consumer, since_ms=killed_ms)
    assert exchange.outcome_of(consumer) == "completed"
    assert consumer.gone.wait(5)
    assert not exchange.knows_it_lost(consumer)
    assert len(consumer.actions("accept")) == 1
    assert len(consumer.actions("terminate")) == 2


@pytest.mark.parametrize("page", [CONVERSE, HESITATE])
def test_a_terminate_that_comes_while_nobody_owns_the_call_is_handled_by_the_successor(
    exchange: Exchange, meta: Meta, page: str
) -> None:
    consumer = meta.consumer(page).ring()
    if page == CONVERSE:
        consumer.await_sound(0.5)
    exchange.await_fact(consumer, facts.HandlerStarted)
    killed_ms = exchange.kill(exchange.holder(consumer))
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == ("completed" if page == CONVERSE else "cancelled")
    exchange.await_successor(consumer, since_ms=killed_ms)
    assert consumer.actions("terminate") == consumer.actions("reject") == []
