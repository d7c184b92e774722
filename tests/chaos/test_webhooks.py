"""What Meta was told 200 is in its call's log, whatever dies and however abruptly.

The append-only file carries this: a process's death loses nothing that was written. A power loss is another matter
(`appendfsync always`), and no test can bring it about here.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from shared.calls import facts
from tests.acceptance.standin import Consumer, Meta, envelope, until
from tests.chaos.exchange import CONVERSE, HESITATE, LEASE_S, Exchange

SENDERS = 4
ENOUGH = 40
"""Webhooks answered 200 before anything dies."""


class Postbag:
    """Hang-ups of calls that nobody heard of before, posted without a pause; which of them were answered 200."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self._closed = threading.Event()
        self.taken: list[Consumer] = []

    @contextlib.contextmanager
    def posting(self) -> Iterator[None]:
        with ThreadPoolExecutor(SENDERS) as senders:
            for _ in range(SENDERS):
                senders.submit(self._post)
            until(lambda: len(self.taken) >= ENOUGH, "webhooks that are taken")
            try:
                yield
            finally:
                self._closed.set()

    def _post(self) -> None:
        while not self._closed.is_set():
            consumer = self._meta.consumer(CONVERSE)
            with contextlib.suppress(httpx.HTTPError):
                if self._meta.post(envelope(consumer.terminate)) == 200:
                    self.taken.append(consumer)


def assert_all_there(exchange: Exchange, postbag: Postbag) -> None:
    lost = [consumer.call_id for consumer in postbag.taken if not hung_up(exchange, consumer)]
    assert lost == []


def hung_up(exchange: Exchange, consumer: Consumer) -> int:
    return sum(1 for fact in exchange.log_of(consumer.call_id) if isinstance(fact, facts.Terminated))


def test_nothing_that_was_answered_200_is_lost_with_the_web_process(idle_exchange: Exchange, meta: Meta) -> None:
    exchange = idle_exchange
    exchange.start("web")
    exchange.await_ready("degraded")
    postbag = Postbag(meta)
    with postbag.posting():
        exchange.kill("web")
    assert_all_there(exchange, postbag)


def test_nothing_that_was_answered_200_is_lost_when_everything_dies_at_once_redis_included(
    exchange: Exchange, meta: Meta
) -> None:
    live, ringing = meta.consumer(CONVERSE).ring(), meta.consumer(HESITATE).ring()
    live.await_sound(0.3)
    exchange.await_fact(ringing, facts.HandlerStarted)
    postbag = Postbag(meta)
    with postbag.posting():
        exchange.kill_valkey()
        exchange.kill("web", "action", "media", "media.2")
    exchange.revive_valkey()
    exchange.open("web", "action", "media")
    reopened_s = time.monotonic()
    assert_all_there(exchange, postbag)
    assert exchange.outcome_of(live) == "lost"
    assert live.await_action("terminate").at_s - reopened_s <= LEASE_S + 2
    assert exchange.knows_it_lost(live)
    ringing.await_sound(0.5)
    ringing.hang_up()
    assert exchange.outcome_of(ringing) == "completed"
    for consumer in postbag.taken:
        assert exchange.outcome_of(consumer) == "cancelled"
