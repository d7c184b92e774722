"""Signed bodies of every odd kind: the decoder alone, then the web application with a real Valkey behind it."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingress.app import create_app
from ingress.webhook import MAX_BODY_BYTES
from shared.bus import Bus
from shared.calls import facts
from shared.dead import DeadLetters
from shared.meta import webhook
from shared.settings import load
from shared.wire import Wire
from tests.fuzz.budget import examples
from tests.fuzz.oddities import TEXTS, VALUES, as_json, damaged, mutants, samples

SECRET: Final = "s3cret"
PAGE: Final = "106378625516323"
NOW_MS: Final = 1_700_000_000_000

BODIES: Final = [json.loads(body) for body in samples("webhooks", "messenger-*.json")]
ELEMENTS: Final = [element for body in BODIES for entry in body["entry"] for element in entry.get("calls", [])]
UNREADABLE_ELEMENTS: Final = (b"7", b"null", b"[]", b'{"id":"c_1"}', b'{"id":"c_1","event":"zz\xff"}', b'"\xc3"')

BODY: Final = st.one_of(
    st.sampled_from(BODIES).flatmap(mutants).map(as_json),
    st.sampled_from(BODIES).flatmap(mutants).map(lambda tree: as_json(tree, ascii_only=False)),
    st.sampled_from(BODIES).map(as_json).flatmap(damaged),
    st.binary(max_size=64),
    st.sampled_from(
        [b"[" * 100_000, b'{"object":"page","entry":' + b"[" * 100_000, b'{"object":"page","entry":[NaN]}']
    ),
)


def read(body: bytes) -> webhook.Received:
    return webhook.read(body, now_ms=NOW_MS, answer_window_ms=55_000)


def stored(fact: facts.Fact) -> facts.Fact:
    """Return the fact as it comes back from a log."""
    again: facts.Fact = msgspec.json.decode(msgspec.json.encode(fact), type=facts.CallFact)
    return again


@given(BODY)
@examples(400)
def test_any_body_is_read_the_same_each_time_and_what_was_read_can_be_stored(body: bytes) -> None:
    received = read(body)
    assert read(body) == received
    for event in received.events:
        assert 0 < len(event.call_id) <= 256
        assert stored(event.fact) == event.fact
    for odd in received.unreadable:
        assert odd.why
        assert odd.body in body or b"\\ufffd" in odd.body
        assert [again.body for again in read(odd.alone).unreadable] == [odd.body], "alone it is as odd as among others"


def post_of(*elements: bytes) -> bytes:
    return b'{"object":"page","entry":[{"id":"%b","time":1,"calls":[%b]}]}' % (PAGE.encode(), b",".join(elements))


@st.composite
def mixtures(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Sound, mutated and unreadable elements, as they would stand in one POST."""
    kinds = draw(st.lists(st.sampled_from(["sound", "odd", "unreadable"]), min_size=1, max_size=12))
    mixture = []
    for number, kind in enumerate(kinds):
        element = draw(st.sampled_from(ELEMENTS))
        match kind:
            case "sound":
                raw = as_json({**element, "id": f"c_{number}"})
            case "odd":
                raw = as_json(draw(mutants(element)))
            case _:
                raw = draw(st.sampled_from(UNREADABLE_ELEMENTS))
        mixture.append((kind, raw))
    return mixture


@given(mixtures())
@example([("odd", b'{"id":"\\ud800","event":"connect"}'), ("sound", as_json({**ELEMENTS[0], "id": "c_1"}))])
@example([("odd", b'"\\\\ud800\\ude00\\ud83d\\ude00"'), ("sound", as_json({**ELEMENTS[0], "id": "c_1"}))])
@examples(300)
def test_among_odd_elements_each_one_is_read_as_if_it_were_alone(mixture: list[tuple[str, bytes]]) -> None:
    together = read(post_of(*(raw for _, raw in mixture)))
    alone = [read(post_of(raw)) for _, raw in mixture]
    assert len(together.events) + len(together.unreadable) == len(mixture), "every element is a fact or a dead letter"
    assert together.events == [event for one in alone for event in one.events]
    assert together.unreadable == [odd for one in alone for odd in one.unreadable]
    for (kind, raw), one in zip(mixture, alone, strict=True):
        if kind == "sound":
            assert len(one.events) == 1
        if kind == "unreadable" or (one.unreadable and b"\\ud" not in raw.lower()):
            assert [odd.body for odd in one.unreadable] == [raw], "a dead letter is the very bytes"


# -- through the application -------------------------------------------------------------------------------------------


class Web:
    """The web application, posted to in memory, and what it left in Redis."""

    def __init__(self, client: httpx.AsyncClient, bus: Bus) -> None:
        self._client = client
        self.bus = bus

    async def post(self, body: bytes) -> int:
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"x-hub-signature-256": f"sha256={signature}"}
        return (await self._client.post("/webhook", content=body, headers=headers)).status_code

    async def forget(self) -> None:
        await self.bus.wire.call("FLUSHALL")

    async def facts_of(self, call_id: str) -> list[facts.Fact]:
        return [timeless(entry.fact) for entry in await self.bus.read_log(call_id)]

    async def dead_letters(self) -> list[bytes]:
        return [letter.body async for letter in DeadLetters(self.bus.wire).all()]


@asynccontextmanager
async def serving(redis_url: str) -> AsyncIterator[Web]:
    app = create_app(load({"META_APP_SECRET": SECRET, "META_VERIFY_TOKEN": "v", "REDIS_URL": redis_url}))
    transport = httpx.ASGITransport(app)  # an exception of the application's is raised here
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://web") as client,
        Wire.from_url(redis_url) as wire,
    ):
        yield Web(client, Bus(wire))


def timeless(fact: facts.Fact) -> facts.Fact:
    """Return the fact without what depends on when it was read."""
    changes: dict[str, Any] = {"at_ms": 0, "epoch": 0}
    if isinstance(fact, facts.Arrived):
        changes |= {"sent_at_ms": 0, "answer_by_ms": 0}
    return replace(fact, **changes)


def test_a_signed_body_is_taken_and_all_of_it_is_in_redis(redis_url: str) -> None:
    """Each fact is in its call's log exactly as it was read, each odd element a dead letter, and the answer is 200."""

    async def check(web: Web, body: bytes) -> None:
        await web.forget()
        assert await web.post(body) == 200
        received = read(body)
        expected: dict[str, dict[str, facts.Fact]] = {}
        for event in received.events:
            expected.setdefault(event.call_id, {}).setdefault(event.identity, timeless(event.fact))
        for call_id, by_identity in expected.items():
            kept = [fact for fact in await web.facts_of(call_id) if not isinstance(fact, facts.DeadlinePassed)]
            assert kept == list(by_identity.values())
        assert sorted(await web.dead_letters()) == sorted(odd.alone for odd in received.unreadable)
        assert all(odd.body in odd.alone for odd in received.unreadable)

    with asyncio.Runner() as runner:
        context = serving(redis_url)
        web = runner.run(context.__aenter__())

        @given(BODY | mixtures().map(lambda mixture: post_of(*(raw for _, raw in mixture))))
        @examples(200)
        def any_body(body: bytes) -> None:
            runner.run(check(web, body))

        @given(st.lists(st.tuples(TEXTS, VALUES), min_size=1, max_size=3))
        @examples(60)
        def any_id(odd: list[tuple[str, Any]]) -> None:
            elements = [as_json({"id": call_id, "event": "hold", "body": value}) for call_id, value in odd]
            runner.run(check(web, post_of(*elements)))

        try:
            any_body()
            any_id()
        finally:
            runner.run(context.__aexit__(None, None, None))


def test_a_thousand_elements_and_a_body_too_large_are_answered_without_an_error(redis_url: str) -> None:
    async def scenario() -> None:
        async with serving(redis_url) as web:
            elements = [{**ELEMENTS[0], "id": f"c_{n}"} if n % 10 else {"id": n} for n in range(3_000)]
            assert await web.post(post_of(*map(as_json, elements))) == 200
            assert len(await web.bus.recent_calls(limit=10_000)) == 2_700
            assert len(await web.dead_letters()) == 300
            assert await web.post(b" " * (MAX_BODY_BYTES + 1)) == 413

    asyncio.run(scenario())
