"""Redis stands still, dies, comes back, is slow, or is out of reach for one worker only."""

import signal

import redis

from shared.calls import facts
from tests.acceptance.standin import Consumer, Meta, Reply, envelope, until
from tests.chaos.exchange import (
    CONVERSE,
    HESITATE,
    LEASE_S,
    OBEY,
    Exchange,
    assert_ended_at_meta,
    heard_last_words,
    now_ms,
)
from tests.chaos.proxy import FaultProxy


def assert_went_on(exchange: Exchange, consumer: Consumer) -> None:
    """See that the consumer is heard and kept its owner, and hang up."""
    consumer.await_sound(1.0)
    consumer.hang_up()
    assert exchange.outcome_of(consumer) == "completed"
    assert [claim.epoch for claim in exchange.claims(consumer)] == [1]
    assert consumer.actions("terminate") == []


def test_an_outage_of_several_leases_costs_nobody_their_call_and_webhooks_are_taken_when_it_is_over(
    exchange: Exchange, meta: Meta
) -> None:
    consumers = [meta.consumer(CONVERSE).ring() for _ in range(2)]
    for consumer in consumers:
        consumer.await_sound(0.5)
    late = meta.consumer(CONVERSE)
    with exchange.valkey_frozen():
        assert meta.post(envelope(late.connect)) == 503
        consumers[0].await_sound(3 * LEASE_S)
        consumers[1].await_sound(0.5)
        assert meta.post(envelope(late.connect)) == 503
        assert late.actions() == []
    late.ring().await_sound(0.5)
    for consumer in (*consumers, late):
        assert_went_on(exchange, consumer)


def test_conversations_outlive_a_redis_that_is_killed_and_started_again_on_its_data(
    exchange: Exchange, meta: Meta
) -> None:
    consumer, ringing = meta.consumer(CONVERSE).ring(), meta.consumer(HESITATE).ring()
    consumer.await_sound(0.5)
    exchange.await_fact(ringing, facts.HandlerStarted)
    exchange.kill_valkey()
    assert meta.post(envelope(consumer.terminate)) == 503
    consumer.await_sound(1.0)
    exchange.revive_valkey()
    exchange.await_ready()
    assert_went_on(exchange, consumer)
    ringing.hang_up()
    assert exchange.outcome_of(ringing) == "cancelled"
    fresh = meta.consumer(CONVERSE).ring()
    assert_went_on(exchange, fresh)


def test_a_worker_cut_off_alone_loses_its_calls_after_its_lease_and_falls_silent_without_a_goodbye(
    idle_exchange: Exchange, meta: Meta
) -> None:
    exchange = idle_exchange
    with FaultProxy(exchange.valkey.url) as network:
        exchange.start("web", "action")
        exchange.open("media", REDIS_URL=network.url)
        consumer, deaf = meta.consumer(CONVERSE), meta.consumer(CONVERSE)
        deaf.replies["terminate"] = [Reply(status=200, body={"success": True})]  # its telephone stays off the hook
        consumer.ring().await_sound(0.3)
        deaf.ring().await_sound(0.3)
        exchange.open("media.2")
        with network.cut():
            cut_ms = now_ms()
            for each in (consumer, deaf):
                exchange.await_successor(each, since_ms=cut_ms)
                assert exchange.outcome_of(each) == "lost"
                assert len(each.actions("accept")) == len(each.actions("terminate")) == 1
            assert_ended_at_meta(consumer)
            told = [len(exchange.log_of(each.call_id)) for each in (consumer, deaf)]
        alone = exchange.processes.pop("media")
        assert alone.wait() != 0
    assert "worker.fenced" in alone.said
    assert not deaf.dismissed
    assert [len(exchange.log_of(each.call_id)) for each in (consumer, deaf)] == told


def test_an_outage_beyond_the_grace_ends_the_conversation_then_and_tells_meta_when_it_is_over(
    idle_exchange: Exchange, meta: Meta
) -> None:
    exchange = idle_exchange
    exchange.open("web", "action", "media", REDIS_GRACE_SECONDS="2")
    consumer = meta.consumer(CONVERSE).ring()
    consumer.await_sound(0.5)
    with exchange.valkey_frozen():
        until(lambda: consumer.left, "the end of the conversation", timeout_s=15)
        assert heard_last_words(consumer)
        assert consumer.actions("terminate") == []
    consumer.await_action("terminate")
    assert exchange.outcome_of(consumer) == "completed"
    asked = [fact.by for fact in exchange.log_of(consumer.call_id) if isinstance(fact, facts.HangUpAsked)]
    assert asked == ["redis_away"]


def test_calls_are_answered_over_a_redis_that_is_slow_and_comes_in_slices(idle_exchange: Exchange, meta: Meta) -> None:
    exchange = idle_exchange
    with FaultProxy(exchange.valkey.url) as network:
        exchange.open("web", "action", "media", REDIS_URL=network.url)
        with network.slow(0.1):
            slow = meta.consumer(CONVERSE).ring()
            slow.await_sound(0.5)
        with network.sliced(64):
            sliced = meta.consumer(CONVERSE).ring()
            sliced.await_sound(0.5)
        network.reset()
        for consumer in (slow, sliced):
            assert_went_on(exchange, consumer)
            assert len(consumer.actions("accept")) == 1


def test_a_redis_that_comes_back_empty_ends_conversations_politely_and_everything_else_goes_on(
    exchange: Exchange, meta: Meta
) -> None:
    live, ringing = meta.consumer(CONVERSE).ring(), meta.consumer(HESITATE).ring()
    live.await_sound(0.5)
    exchange.await_fact(ringing, facts.HandlerStarted)
    exchange.kill_valkey()
    exchange.empty_valkey()
    exchange.revive_valkey()
    until(lambda: live.left, "the end of the conversation")
    assert heard_last_words(live)
    assert_ended_at_meta(live)
    assert exchange.outcome_of(live) == "lost"
    assert any("redis.forgot" in exchange.processes[name].said for name in ("media", "media.2"))
    ringing.await_sound(0.5)
    ringing.hang_up()
    assert exchange.outcome_of(ringing) == "completed"
    assert len(ringing.actions("accept")) == 1
    fresh = meta.consumer(CONVERSE).ring()
    assert_went_on(exchange, fresh)


def test_a_redis_that_is_emptied_under_a_draining_worker_is_told_its_calls_before_it_leaves(
    exchange: Exchange, meta: Meta
) -> None:
    live = meta.consumer(CONVERSE).ring()
    live.await_sound(0.5)
    draining = exchange.processes.pop(exchange.holder(live))
    draining.signal(signal.SIGTERM)
    until(lambda: "worker.draining" in draining.said, "the drain")
    with redis.Redis.from_url(exchange.valkey.url) as client:
        client.flushall()
    assert_ended_at_meta(live)
    assert exchange.outcome_of(live) == "lost"
    assert draining.wait() == 0


def test_a_single_call_that_redis_forgot_is_told_to_it_again(exchange: Exchange, meta: Meta) -> None:
    forgotten, other = meta.consumer(OBEY).ring(), meta.consumer(CONVERSE).ring()
    forgotten.await_sound(0.5)
    other.await_sound(0.5)
    with redis.Redis.from_url(exchange.valkey.url) as client:
        client.delete(*client.scan_iter(f"*{forgotten.call_id}"))
    (exchange.home / f"{forgotten.call_id}.enough").touch()  # something is said of it
    assert_ended_at_meta(forgotten)
    assert exchange.outcome_of(forgotten) == "completed", "it was the handler that hung up"
    assert exchange.await_fact(forgotten, facts.LogRestored)
    assert_went_on(exchange, other)
