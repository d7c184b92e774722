"""What Meta, and whoever pretends to be Meta, may post; each is looked at from outside."""

import hashlib
import hmac
import http.client
import json
import select
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from shared.calls import facts
from tests.acceptance.line import PAGES, PIPELINE, TOKENLESS_PAGE, VERIFY_TOKEN, Line, readiness
from tests.acceptance.standin import PAGE, SECRET, Meta, envelope, signed, until

LIMIT_BYTES = 8 * 1024 * 1024


def test_the_handshake_returns_the_challenge_and_nothing_else(line: Line) -> None:
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN}
    agreed = httpx.get(f"{line.base}/webhook", params=asked)
    assert (agreed.status_code, agreed.text) == (200, "1158201444")
    assert agreed.headers["content-type"].startswith("text/plain")
    assert httpx.get(f"{line.base}/webhook", params=asked | {"hub.verify_token": "guessed"}).status_code == 403
    assert httpx.get(f"{line.base}/webhook", params=asked | {"hub.mode": "unsubscribe"}).status_code == 403


def test_the_same_webhook_fifty_times_at_once_is_answered_once(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    body = envelope(consumer.connect)
    with ThreadPoolExecutor(50) as senders:
        assert set(senders.map(meta.post, [body] * 50)) == {200}
    consumer.await_sound(0.3)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 1
    assert len([fact for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.Arrived)]) == 1


def test_one_post_for_two_pages_has_both_answered_and_an_odd_element_spoils_neither(line: Line, meta: Meta) -> None:
    one, other, gone = meta.consumer(PAGE), meta.consumer(PAGES["forward"]), meta.consumer(PAGE)
    before = line.dead_letters().get("webhook_unreadable", 0)
    odd = (PAGE, {"id": ["no", "id"], "event": 7})
    assert meta.post(envelope(gone.terminate, gone.connect, one.connect, odd, other.connect)) == 200
    for consumer in (one, other):
        consumer.await_sound(0.3)
        consumer.hang_up()
        assert line.outcome_of(consumer) == "completed"
    assert not gone.actions("accept")
    assert line.dead_letters()["webhook_unreadable"] == before + 1


def sha1(body: bytes) -> str:
    return f"sha1={hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()}"


FORGERIES: dict[str, Callable[[bytes], Mapping[str, str | bytes]]] = {
    "none": lambda _: {},
    "of another secret": lambda body: signed(body, "guessed"),
    "of another body": lambda body: signed(body + b" "),
    "sha1 only": lambda body: {"x-hub-signature": sha1(body)},
    "sha1 in the place of sha256": lambda body: {"x-hub-signature-256": sha1(body)},
    "empty": lambda _: {"x-hub-signature-256": "sha256="},
    "no ascii": lambda _: {"x-hub-signature-256": b"sha256=\xff\xfe"},
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_body_without_metas_signature_is_refused_and_leaves_no_trace(
    line: Line, meta: Meta, forge: Callable[[bytes], Mapping[str, str | bytes]]
) -> None:
    consumer = meta.consumer()
    body = envelope(consumer.connect)
    before = line.dead_letters(), line.queued()
    assert meta.post(body, {"content-type": "application/json", **forge(body)}) == 401
    assert (line.dead_letters(), line.queued()) == before
    assert not line.log_of(consumer.call_id)


def in_pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1 << 16):
        yield body[start : start + (1 << 16)]


@pytest.mark.parametrize("announced", [True, False], ids=["length announced", "in chunks"])
def test_a_body_over_eight_mebibytes_is_too_large(line: Line, meta: Meta, announced: bool) -> None:
    body = b" " * (LIMIT_BYTES + 1)
    content = body if announced else in_pieces(body)
    assert httpx.post(meta.webhook_url, content=content, headers=signed(body)).status_code == 413
    assert meta.post(b" " * LIMIT_BYTES) == 200


@pytest.mark.parametrize("garbage", [b"", b"\x00\xff", b"[]", b'{"object":"page","entry":[7]}'])
def test_signed_garbage_is_taken_and_kept_as_a_dead_letter(line: Line, meta: Meta, garbage: bytes) -> None:
    before = line.dead_letters().get("webhook_unreadable", 0)
    assert meta.post(garbage) == 200
    assert line.dead_letters()["webhook_unreadable"] == before + 1


def test_a_page_without_a_token_is_not_answered_and_a_dead_letter_says_why(line: Line, meta: Meta) -> None:
    before = line.dead_letters().get("no_page_token", 0)
    consumer = meta.consumer(TOKENLESS_PAGE).ring()
    assert line.outcome_of(consumer) == "failed"
    assert not consumer.actions()
    assert line.dead_letters()["no_page_token"] == before + 1
    shown = httpx.get(f"{line.base}/metrics").text
    assert f'pageline_dead_letters_total{{why="no_page_token"}} {before + 1}.0' in shown
    failed = line.await_fact(consumer, facts.ActionFailed)
    assert TOKENLESS_PAGE in failed.message
    assert "PAGE_TOKENS" in failed.message


def test_while_redis_is_away_webhooks_are_refused_and_conversations_go_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Meta() as meta, Line(tmp_path_factory.mktemp("away"), meta) as line:
        line.start(*PIPELINE)
        line.await_ready()
        talking, ringing = meta.consumer().ring(), meta.consumer()
        talking.await_sound(0.3)
        line.valkey.stop()
        assert meta.post(envelope(ringing.connect)) == 503
        assert readiness(line.base) == "redis away"
        talking.await_sound(1.0)
        line.valkey.start()
        until(lambda: meta.post(envelope(ringing.connect)) == 200, "webhooks are taken again")
        ringing.await_sound(0.3)
        for consumer in (ringing, talking):
            consumer.hang_up()
            assert line.outcome_of(consumer) == "completed"


def test_a_connection_that_idles_stays_open_for_the_next_webhook(line: Line, meta: Meta) -> None:
    """Or a load balancer, which keeps it for a minute and more, would meet its end with a webhook in hand."""
    consumer = meta.consumer()
    kept = http.client.HTTPConnection(line.base.removeprefix("http://"), timeout=10)
    for event, idle_s in ((consumer.connect, 6), (consumer.terminate, 0)):
        body = envelope(event)
        kept.request("POST", "/webhook", body, signed(body))
        reply = kept.getresponse()
        assert (reply.status, reply.read()) == (200, b"")
        assert not select.select([kept.sock], [], [], idle_s)[0], "closed, or spoken to"


def test_a_body_is_signed_as_it_came_and_not_as_it_reads(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    page, element = consumer.connect
    body = envelope((page, {**element, "name": "äöå/<%@"}))
    assert b"\\u00e4" in body
    respelled = json.dumps(json.loads(body), ensure_ascii=False).encode()
    assert meta.post(respelled, signed(body)) == 401
    assert meta.post(body.replace(b"/", b"\\/"), signed(body.replace(b"/", b"\\/"))) == 200
    consumer.await_action("accept")
    consumer.hang_up()
    assert line.outcome_of(consumer) in ("completed", "cancelled")
