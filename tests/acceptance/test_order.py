"""Whatever order Meta's words come in, and however often: seen from Meta's side and in the calls' logs."""

import asyncio
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, Final

import pytest
import redis

from shared.bus import PREFIX, Bus
from shared.calls import facts
from shared.wire import Wire
from tests.acceptance.line import PAGES, TOKENLESS_PAGE, Line
from tests.acceptance.standin import PAGE, Consumer, Meta, envelope, until

DAY_S: Final = 86_400
Elements = list[tuple[str, Mapping[str, Any]]]


class Renegotiator(Consumer):
    """A consumer whose side changes the media: each version of the offer wants Opus under a number of its own."""

    def __init__(self, meta: Meta, *, overtaking: tuple[int, ...] = (), leaving: bool = False) -> None:
        super().__init__(meta, PAGE, 620)
        self._line = meta
        self._overtaking = overtaking
        self._leaving = leaving
        self._offer = ""

    def media_update(self, version: int) -> tuple[str, dict[str, Any]]:
        sdp = self._offer.replace("SAVPF 111", f"SAVPF {96 + version}").replace(":111 ", f":{96 + version} ")
        session = {"version": version, "sdp_renegotiation": {"sdp_type": "offer", "sdp": sdp}}
        return self.page, {"id": self.call_id, "event": "media_update", "session": session}

    async def answer(self, offer: str) -> dict[str, Any]:
        """Answer, but before Graph's reply leaves, see that webhooks are taken that speak of what comes after it."""
        session = await super().answer(offer)
        self._offer = session["sdp_renegotiation"]["sdp"]
        for version in self._overtaking:
            assert await asyncio.to_thread(self._line.post, envelope(self.media_update(version))) == 200
        if self._leaving:
            assert await asyncio.to_thread(self._line.post, envelope(self.terminate)) == 200
        return session

    def change_media(self, version: int) -> None:
        assert self._line.post(envelope(self.media_update(version))) == 200

    @property
    def numbers(self) -> list[int]:
        """Return the payload types of what came, one after the other, each run of the same once."""
        sound = (data for data in list(self.datagrams) if 127 < data[0] < 192 and not 192 <= data[1] < 224)  # RFC 7983
        return [number for number, _ in groupby(data[1] & 0x7F for data in sound)]


def versions_of(line: Line, consumer: Consumer) -> list[int]:
    return [fact.version for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.MediaChanged)]


def settled(line: Line, consumer: Consumer) -> None:
    """See that nothing more is done for a call while another one is served from start to end."""
    before, asked = line.log_of(consumer.call_id), consumer.actions()
    other = line.meta.consumer().ring()
    other.await_sound(0.2)
    other.hang_up()
    assert line.outcome_of(other) == "completed"
    assert line.log_of(consumer.call_id) == before
    assert consumer.actions() == asked


# -- endings that come early -------------------------------------------------------------------------------------------


def test_a_call_that_ended_before_it_came_never_rings(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer.hang_up()
    assert line.outcome_of(consumer) == "cancelled"
    consumer.ring()
    line.await_fact(consumer, facts.Arrived)
    settled(line, consumer)
    assert not consumer.actions()
    kinds = [type(fact) for fact in line.log_of(consumer.call_id)]
    assert facts.HandlerStarted not in kinds
    assert kinds.count(facts.Closed) == 1


def test_an_ending_that_overtakes_the_reply_to_accept_leaves_nothing_to_say(line: Line, meta: Meta) -> None:
    consumer = meta.know(Renegotiator(meta, leaving=True)).ring()
    assert line.outcome_of(consumer) == "cancelled"
    answered = line.await_fact(consumer, facts.AnswerReceived)
    log = line.log_of(consumer.call_id)
    assert log.index(next(fact for fact in log if isinstance(fact, facts.Terminated))) < log.index(answered)
    settled(line, consumer)
    assert [request.action for request in consumer.actions()] == ["accept"]
    assert not consumer.numbers, "a call that is over is not spoken to"


# -- versions of the media ---------------------------------------------------------------------------------------------


@pytest.mark.meta("3.3-version")
def test_of_media_updates_out_of_order_each_higher_one_is_applied_once_and_the_highest_stays(
    line: Line, meta: Meta
) -> None:
    consumer = meta.know(Renegotiator(meta)).ring()
    until(lambda: consumer.numbers == [111], "sound under the number agreed on first")
    consumer.change_media(2)
    until(lambda: consumer.numbers == [111, 98], "sound under the number of version 2")
    for version in (1, 2, 5, 3, 4, 5, 2):
        consumer.change_media(version)
    until(lambda: consumer.numbers[-1] == 101, "sound under the number of version 5")
    consumer.change_media(1)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert consumer.numbers == [111, 98, 101]
    assert versions_of(line, consumer) == [2, 1, 5, 3, 4], "each is in the log once"


@pytest.mark.meta("3.3-version")
def test_media_updates_that_overtake_the_reply_to_accept_wait_for_it_and_the_highest_is_applied(
    line: Line, meta: Meta
) -> None:
    consumer = meta.know(Renegotiator(meta, overtaking=(1, 3, 2, 3))).ring()
    until(lambda: consumer.numbers, "sound")
    until(lambda: consumer.numbers[-1] == 99, "sound under the number of version 3")
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert set(consumer.numbers) <= {111, 99}
    assert consumer.numbers[-1] == 99
    log = line.log_of(consumer.call_id)
    kinds = [type(fact) for fact in log]
    assert versions_of(line, consumer) == [1, 3, 2]
    assert kinds.index(facts.MediaChanged) < kinds.index(facts.AnswerReceived)
    assert len(consumer.actions("accept")) == 1


# -- the same again, now and later -------------------------------------------------------------------------------------


def test_the_same_post_a_hundred_times_at_once_is_one_arrival_and_one_accept(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    body = envelope(consumer.connect)
    with ThreadPoolExecutor(50) as senders:
        assert set(senders.map(meta.post, [body] * 100)) == {200}
    consumer.await_sound(0.3)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 1
    kinds = [type(fact) for fact in line.log_of(consumer.call_id)]
    assert (kinds.count(facts.Arrived), kinds.count(facts.Claimed), kinds.count(facts.Closed)) == (1, 1, 1)


def test_words_that_are_repeated_long_after_the_end_change_nothing(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer._rang_s -= 20  # it takes Meta a while
    words = [envelope(consumer.connect)]
    assert meta.post(words[0]) == 200
    consumer.await_sound(0.3)
    words.append(envelope(consumer.terminate))
    assert meta.post(words[1]) == 200
    assert line.outcome_of(consumer) == "completed"
    before = line.log_of(consumer.call_id)
    with redis.Redis.from_url(line.valkey.url) as client:  # a day cannot be waited for; what is remembered can be read
        for kind in ("call", "log"):
            assert client.pttl(f"{PREFIX}{kind}:{consumer.call_id}") > 1.5 * DAY_S * 1000
    for body in (*words, *reversed(words)):
        assert meta.post(body) == 200
    settled(line, consumer)
    assert line.log_of(consumer.call_id) == before


def test_a_call_that_is_first_heard_of_a_day_late_is_recorded_and_left_alone(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer._rang_s -= DAY_S
    consumer.ring()
    assert line.outcome_of(consumer) == "expired"
    assert line.await_fact(consumer, facts.Arrived).sent_at_ms == consumer._rang_s * 1000
    assert meta.post(envelope(consumer.terminate)) == 200
    settled(line, consumer)
    assert not consumer.actions(), "Meta stopped ringing long ago: there is nothing to answer and nothing to reject"
    assert facts.HandlerStarted not in [type(fact) for fact in line.log_of(consumer.call_id)]


# -- a thousand at once ------------------------------------------------------------------------------------------------

ODD: Final[list[dict[str, Any]]] = [{}, {"id": ["c"]}, {"id": "c_odd"}, {"id": "c_odd", "event": 7}, {"id": ""}]
SIZE: Final = 1_000


def crowd(meta: Meta) -> tuple[Elements, list[Consumer], list[Consumer], list[Consumer]]:
    """Return a thousand elements: calls that are over and calls of yesterday, words in any order, odd ones, and in the
    midst of them a few that ring."""
    pages = [PAGE, PAGES["forward"], TOKENLESS_PAGE]
    ringing = [meta.consumer(PAGE), meta.consumer(PAGES["forward"]), meta.consumer(PAGES["echo"])]
    tokenless = [meta.consumer(TOKENLESS_PAGE) for _ in range(2)]
    elements: Elements = [(pages[n % 3], ODD[n % len(ODD)]) for n in range(60)]
    over: list[Consumer] = []
    while len(elements) + 5 < SIZE:
        consumer = meta.consumer(pages[len(over) % 3])
        over.append(consumer)
        if len(over) % 4 == 0:
            consumer._rang_s -= DAY_S
            elements += [consumer.connect, consumer.connect]
        else:
            update = {"id": consumer.call_id, "event": "media_update", "session": {"sdp_renegotiation": "v=0"}}
            elements += [consumer.terminate, (consumer.page, update), consumer.connect, consumer.terminate]
    elements = elements[: SIZE - 5]
    for place, consumer in zip((100, 400, 600, 800, 995), ringing + tokenless, strict=True):
        elements.insert(place, consumer.connect)
    said = {element.get("id") for _, element in elements if isinstance(element.get("id"), str)}
    return elements, ringing, tokenless, [consumer for consumer in over if consumer.call_id in said]


def in_entries(elements: Elements) -> bytes:
    """Return one body with an entry per run of elements of one Page."""
    now_s = int(time.time())
    entries = [
        {"id": page, "time": now_s, "calls": [{"timestamp": now_s, **element} for _, element in run]}
        for page, run in groupby(elements, key=lambda each: each[0])
    ]
    return json.dumps({"object": "page", "entry": entries}).encode()


def test_a_thousand_elements_of_several_pages_in_one_post_are_all_kept_and_every_call_ends(
    line: Line, meta: Meta
) -> None:
    odd_before = line.dead_letters().get("webhook_unreadable", 0)
    elements, ringing, tokenless, over = crowd(meta)
    assert len(elements) == SIZE
    assert meta.post(in_entries(elements)) == 200
    for consumer in ringing:
        consumer.await_sound(0.2)
        consumer.hang_up()

    async def logs() -> dict[str, list[facts.Fact]]:
        async with Wire.from_url(line.valkey.url, name="acceptance") as wire:
            bus, everybody = Bus(wire), [*ringing, *tokenless, *over]
            read = await asyncio.gather(*(bus.read_log(consumer.call_id) for consumer in everybody))
        entries = zip(everybody, read, strict=True)
        return {consumer.call_id: [entry.fact for entry in log] for consumer, log in entries}

    def all_closed() -> bool:
        return all(any(isinstance(fact, facts.Closed) for fact in log) for log in asyncio.run(logs()).values())

    until(all_closed, "every call is closed", timeout_s=30)
    told = asyncio.run(logs())
    outcomes = {
        call_id: [fact.outcome for fact in log if isinstance(fact, facts.Closed)] for call_id, log in told.items()
    }
    assert [outcomes[consumer.call_id] for consumer in ringing] == [["completed"]] * 3
    assert [outcomes[consumer.call_id] for consumer in tokenless] == [["failed"]] * 2
    for consumer in over:
        late = consumer._rang_s < time.time() - DAY_S / 2
        assert outcomes[consumer.call_id] == ["expired" if late else "cancelled"]
        assert not consumer.actions()
    heard = sum(
        isinstance(fact, facts.Arrived | facts.Terminated | facts.MediaChanged) for log in told.values() for fact in log
    )
    sayings = {(element["id"], element["event"]) for _, element in elements if str(element.get("id")) in told} | {
        (consumer.call_id, "terminate") for consumer in ringing
    }
    assert heard == len(sayings), "each saying is one fact"
    assert line.dead_letters()["webhook_unreadable"] == odd_before + 60
