"""The primary dies in the middle of calls; Sentinel makes a replica the new one."""

from collections.abc import Iterator

import pytest

from shared.calls import facts
from tests.acceptance.standin import Meta, envelope, until
from tests.chaos.exchange import CONVERSE, HESITATE, Exchange
from tests.chaos.test_redis import assert_went_on
from tests.replicated import Replicated


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with Replicated(tmp_path_factory.mktemp("servers"), replicas=2) as running:
        yield running


@pytest.fixture(scope="module")
def exchange(servers: Replicated, meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An exchange whose Redis is a primary with replicas, one of which has to hold what counts as written."""
    home = tmp_path_factory.mktemp("exchange")
    with Exchange(home, meta, REDIS_URL=servers.url, REDIS_WAIT_REPLICAS="1") as running:
        running.open("web", "action", "media", "media.2")
        yield running


def test_conversations_outlive_their_primary_and_nobody_is_answered_twice(
    exchange: Exchange, servers: Replicated, meta: Meta
) -> None:
    live = [meta.consumer(CONVERSE).ring() for _ in range(3)]
    for consumer in live:
        consumer.await_sound(0.5)
    ringing = meta.consumer(HESITATE).ring()
    exchange.await_fact(ringing, facts.HandlerStarted)
    late, old = meta.consumer(CONVERSE), servers.primary
    replicas = [port for port in servers.ports if port != old]
    with servers.frozen(*replicas):
        assert meta.post(envelope(late.connect)) == 503, "it was confirmed, and no replica has it"
        servers.kill(old)
    until(lambda: meta.post(envelope(late.connect)) == 200, "a webhook that the new primary keeps")
    assert servers.primary != old
    late.await_sound(0.5)
    for consumer in (*live, late):
        assert_went_on(exchange, consumer)
        assert len(consumer.actions("accept")) == 1
    ringing.hang_up()
    assert exchange.outcome_of(ringing) == "cancelled"
    assert ringing.actions("accept") == []
    fresh = meta.consumer(CONVERSE).ring()
    assert_went_on(exchange, fresh)
    assert exchange.dead_letters() == {}
    assert {name for name, process in exchange.processes.items() if process.ended} == set()
