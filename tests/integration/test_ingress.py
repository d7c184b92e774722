"""The web process's application on a real uvicorn, in front of a real Valkey."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
import uvicorn
from rq import Queue

from ingress.app import create_app
from ingress.webhook import MAX_BODY_BYTES
from shared.bus import Bus
from shared.calls import facts
from shared.dead import LETTERS
from shared.embedded import EmbeddedValkey
from shared.errors import BadSetting
from shared.jobs import JsonSerializer
from shared.settings import load
from shared.wire import Wire

SECRET: Final = b"s3cret"
PAGE: Final = "106378625516323"
VERIFY: Final = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "v3rify"}


@contextlib.contextmanager
def serving(redis_url: str, **environ: str) -> Iterator[httpx.Client]:
    """Serve the application from a thread; requests made before it has started wait for it."""
    given = {"META_APP_SECRET": f"{SECRET.decode()},old", "META_VERIFY_TOKEN": "v3rify", "REDIS_URL": redis_url}
    app = create_app(load({**given, **environ}))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(
            uvicorn.Config(app, http="httptools", log_config=None, server_header=False, date_header=False)
        )
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def web(redis_url: str) -> Iterator[httpx.Client]:
    with serving(redis_url) as client:
        yield client


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


def signature(body: bytes, secret: bytes = SECRET, digest: str = "sha256") -> str:
    return f"{digest}={hmac.new(secret, body, digest).hexdigest()}"


def post(web: httpx.Client, body: bytes, *, signed: str | None = None, path: str = "/webhook") -> httpx.Response:
    return post_with(web, body, {"x-hub-signature-256": signature(body) if signed is None else signed}, path=path)


def post_with(
    web: httpx.Client, body: bytes | Iterable[bytes], headers: dict[str, str], *, path: str = "/webhook"
) -> httpx.Response:
    return web.post(path, content=body, headers=headers)


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def get(web: httpx.Client, path: str) -> httpx.Response:
    return web.get(path)


def calls(*elements: Any, **others: Any) -> bytes:
    return json.dumps(
        {"object": "page", "entry": [{"id": PAGE, "time": 1671644824, "calls": elements, **others}]}
    ).encode()


def connect(call_id: str = "c_1", *, sent_s: int | None = None) -> dict[str, Any]:
    stamp = int(time.time()) if sent_s is None else sent_s
    return {"id": call_id, "event": "connect", "timestamp": stamp, "to": PAGE, "from": "5275811702471834"}


async def kinds(bus: Bus, call_id: str = "c_1") -> list[str]:
    return [type(entry.fact).__name__ for entry in await bus.read_log(call_id)]


async def assert_nothing_was_kept(bus: Bus) -> None:
    assert await bus.recent_calls() == []
    assert await bus.dead_letter_counts() == {}


def sample(metrics: str, name: str) -> float:
    """Read one sample; a counter that was never counted is 0."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


# -- the handshake -----------------------------------------------------------------------------------------------------


def test_the_handshake_returns_the_challenge_and_nothing_around_it(web: httpx.Client) -> None:
    agreed = web.get("/webhook", params=VERIFY)
    assert (agreed.status_code, agreed.content) == (200, b"1158201444")
    assert agreed.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "changes", [{"hub.verify_token": "guessed"}, {"hub.mode": "unsubscribe"}, {"hub.verify_token": ""}]
)
def test_a_handshake_of_somebody_else_is_refused(web: httpx.Client, changes: dict[str, str]) -> None:
    refused = web.get("/webhook", params={**VERIFY, **changes})
    assert refused.status_code == 403
    assert b"1158201444" not in refused.content


def test_a_get_without_anything_is_refused(web: httpx.Client) -> None:
    assert web.get("/webhook").status_code == 403


# -- what is taken -----------------------------------------------------------------------------------------------------


async def test_a_signed_webhook_is_in_the_log_once_it_is_answered(web: httpx.Client, bus: Bus) -> None:
    answered = post(web, calls(connect()))
    assert (answered.status_code, answered.text) == (200, "")
    (entry,) = await bus.read_log("c_1")
    assert isinstance(entry.fact, facts.Arrived)
    assert (entry.fact.page, entry.fact.consumer) == (PAGE, "5275811702471834")


@pytest.mark.meta("4.1-window")
async def test_the_time_to_answer_is_that_of_the_setting(redis_url: str, bus: Bus) -> None:
    with serving(redis_url, ACCEPT_DEADLINE_SECONDS="777") as web:
        post(web, calls(connect()))
    (entry,) = await bus.read_log("c_1")
    assert isinstance(entry.fact, facts.Arrived)
    assert entry.fact.answer_by_ms == entry.fact.sent_at_ms + 777_000


async def test_a_webhook_sent_again_is_answered_and_changes_nothing(web: httpx.Client, bus: Bus) -> None:
    assert [post(web, calls(connect())).status_code for _ in range(5)] == [200] * 5
    assert await kinds(bus) == ["Arrived"]


async def test_the_older_of_two_secrets_is_good_while_they_rotate(web: httpx.Client, bus: Bus) -> None:
    body = calls(connect())
    assert post(web, body, signed=signature(body, b"old")).status_code == 200
    assert await kinds(bus) == ["Arrived"]


async def test_a_body_in_chunks_is_the_same_body(web: httpx.Client, bus: Bus) -> None:
    body = calls(connect(), connect("c_2"))
    answered = post_with(web, pieces(body, 7), {"x-hub-signature-256": signature(body)})
    assert answered.status_code == 200
    assert (await kinds(bus), await kinds(bus, "c_2")) == (["Arrived"], ["Arrived"])


async def test_a_thousand_updates_in_one_post_are_all_kept(web: httpx.Client, bus: Bus) -> None:
    body = calls(*(connect(f"c_{number}") for number in range(1_000)))
    assert post(web, body).status_code == 200
    assert set(await bus.recent_calls(limit=2_000)) == {f"c_{number}" for number in range(1_000)}


async def test_a_body_of_just_the_limit_is_taken(web: httpx.Client, bus: Bus) -> None:
    body = calls(connect())
    body += b" " * (MAX_BODY_BYTES - len(body))
    assert post(web, body).status_code == 200
    assert await kinds(bus) == ["Arrived"]


async def test_a_signed_body_that_cannot_be_read_is_a_dead_letter_and_200(
    web: httpx.Client, bus: Bus, redis_url: str
) -> None:
    odd = b'{"object":"page","entry":"\xff'
    assert post(web, odd).status_code == 200
    assert await bus.dead_letter_counts() == {"webhook_unreadable": 1}
    with redis.Redis.from_url(redis_url) as client:
        ((_, letter),) = client.xrange(LETTERS)
    assert letter[b"body"] == odd


async def test_an_odd_element_is_a_dead_letter_and_spoils_no_other(web: httpx.Client, bus: Bus) -> None:
    assert post(web, calls(connect(), {"id": 7}, connect("c_2"))).status_code == 200
    assert (await kinds(bus), await kinds(bus, "c_2")) == (["Arrived"], ["Arrived"])
    assert await bus.dead_letter_counts() == {"webhook_unreadable": 1}


async def test_webhooks_at_once_over_many_connections_are_all_kept(web: httpx.Client, bus: Bus) -> None:
    async with httpx.AsyncClient(base_url=web.base_url) as crowd:
        bodies = [calls(connect(f"c_{number}")) for number in range(100)]
        answers = await asyncio.gather(
            *(crowd.post("/webhook", content=body, headers={"x-hub-signature-256": signature(body)}) for body in bodies)
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len(await bus.recent_calls(limit=200)) == 100


# -- what is refused ---------------------------------------------------------------------------------------------------

FORGED: Final = calls(connect())


@pytest.mark.parametrize(
    "signed",
    [
        pytest.param("", id="empty"),
        pytest.param(signature(FORGED, b"guessed"), id="of another secret"),
        pytest.param(signature(b"other"), id="of another body"),
        pytest.param(signature(FORGED, digest="sha1"), id="sha1 in its place"),
    ],
)
async def test_a_forged_signature_is_refused_and_nothing_kept(web: httpx.Client, bus: Bus, signed: str) -> None:
    assert post(web, FORGED, signed=signed).status_code == 401
    await assert_nothing_was_kept(bus)


async def test_a_missing_or_sha1_only_signature_is_refused_and_nothing_kept(web: httpx.Client, bus: Bus) -> None:
    body = calls(connect())
    assert post_with(web, body, {}).status_code == 401
    legacy = {"x-hub-signature": f"sha1={hmac.new(SECRET, body, hashlib.sha1).hexdigest()}"}
    assert post_with(web, body, legacy).status_code == 401
    await assert_nothing_was_kept(bus)


async def test_a_body_that_is_too_large_is_refused_and_nothing_kept(web: httpx.Client, bus: Bus) -> None:
    body = calls(connect())
    body += b" " * (MAX_BODY_BYTES + 1 - len(body))
    assert post(web, body).status_code == 413
    await assert_nothing_was_kept(bus)


def test_whoever_announces_too_much_is_told_so_before_sending_it(web: httpx.Client) -> None:
    with socket.create_connection((web.base_url.host, web.base_url.port or 80), timeout=10) as raw:
        raw.sendall(b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        assert raw.recv(1_000).startswith(b"HTTP/1.1 413 ")


async def test_a_body_in_chunks_that_is_too_large_is_refused_and_nothing_kept(web: httpx.Client, bus: Bus) -> None:
    body = calls(connect()) + b" " * MAX_BODY_BYTES
    assert post_with(web, pieces(body, 65_536), {"x-hub-signature-256": signature(body)}).status_code == 413
    await assert_nothing_was_kept(bus)


def test_it_goes_on_after_a_body_that_was_too_large(web: httpx.Client) -> None:
    post(web, b" " * (MAX_BODY_BYTES + 1))
    assert post(web, calls(connect())).status_code == 200


def test_there_is_no_webhook_elsewhere(web: httpx.Client) -> None:
    assert post(web, calls(connect()), path="/webhook/other").status_code == 404
    assert web.put("/webhook").status_code == 405


# -- without Redis -----------------------------------------------------------------------------------------------------


def test_while_redis_is_away_it_answers_503_and_never_200(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey, serving(valkey.url) as web:
        assert post(web, calls(connect())).status_code == 200
        assert get(web, "/readyz").status_code == 200
        valkey.stop()

        assert post(web, calls(connect("c_2"))).status_code == 503
        assert get(web, "/readyz").status_code == 503
        assert web.get("/healthz").status_code == 200
        metrics = get(web, "/metrics")
        assert metrics.status_code == 200
        assert sample(metrics.text, "pageline_redis_up") == 0


@pytest.mark.parametrize("missing", ["META_APP_SECRET", "META_VERIFY_TOKEN", "REDIS_URL"])
def test_it_refuses_to_start_without(missing: str) -> None:
    environ = {"META_APP_SECRET": "s", "META_VERIFY_TOKEN": "v", "REDIS_URL": "redis://127.0.0.1:1"}
    with pytest.raises(BadSetting, match=f"^{missing} is not set"):
        create_app(load({**environ, missing: ""}))


# -- other fields ------------------------------------------------------------------------------------------------------


def bulk(client: redis.Redis) -> Queue:
    return Queue("bulk", connection=client, serializer=JsonSerializer)


@pytest.mark.meta("7.6-ads")
async def test_a_body_with_other_fields_is_queued_once_for_whoever_wants_them(redis_url: str, bus: Bus) -> None:
    body = calls(connect(), messaging=[{"message": {"text": "hello"}}])
    with serving(redis_url, WEBHOOK_FORWARD_URL="http://127.0.0.1:9/inbox") as web:
        assert [post(web, body).status_code for _ in range(3)] == [200] * 3

    with redis.Redis.from_url(redis_url) as client:
        (job,) = bulk(client).jobs
        assert job.func_name == "workers.action.jobs.forward"
        (digest,) = job.args
    assert await bus.stashed(digest) == (body, signature(body).encode())
    assert await kinds(bus) == ["Arrived"]


@pytest.mark.parametrize("others", [{}, {"messaging": []}], ids=["calls only", "nobody wants them"])
async def test_nothing_is_queued_where_nothing_is_to_be_passed_on(redis_url: str, others: dict[str, Any]) -> None:
    forward = {} if others else {"WEBHOOK_FORWARD_URL": "http://127.0.0.1:9/inbox"}
    with serving(redis_url, **forward) as web:
        assert post(web, calls(connect(), **others)).status_code == 200
    with redis.Redis.from_url(redis_url) as client:
        assert bulk(client).job_ids == []


# -- health and metrics ------------------------------------------------------------------------------------------------


async def test_it_is_degraded_without_a_media_worker_and_ready_with_one(web: httpx.Client, bus: Bus) -> None:
    alone = get(web, "/readyz")
    assert (alone.status_code, alone.json()["status"]) == (200, "degraded")

    await bus.beat("one", lease_ms=60_000, capacity=5, join=True)

    ready = get(web, "/readyz")
    assert (ready.status_code, ready.json()["status"], ready.json()["media_workers"]) == (200, "ready", 1)


async def test_metrics_count_posts_events_and_dead_letters_and_know_the_workers(web: httpx.Client, bus: Bus) -> None:
    await bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    names = [
        'pageline_webhook_posts_total{status="200"}',
        'pageline_webhook_posts_total{status="401"}',
        'pageline_webhook_events_total{routed="placed"}',
        'pageline_webhook_events_total{routed="duplicate"}',
        'pageline_webhook_other_fields_total{field="messaging"}',
        'pageline_webhook_other_fields_total{field="unknown"}',
    ]
    before = get(web, "/metrics").text
    body = calls(connect(), connect(), {"id": 7}, messaging=[], made_up=[])
    post(web, body)
    post(web, body, signed="sha256=forged")

    answered = get(web, "/metrics")

    assert answered.headers["content-type"].startswith("text/plain")
    assert [sample(answered.text, name) - sample(before, name) for name in names] == [1] * len(names)
    assert sample(answered.text, 'pageline_dead_letters_total{why="webhook_unreadable"}') == 1
    assert sample(answered.text, "pageline_redis_up") == 1
    assert sample(answered.text, "pageline_calls_held") == 1
    assert sample(answered.text, "pageline_media_slots") == 5
    assert sample(answered.text, "pageline_calls_waiting") == 0


def test_metrics_hold_no_id_of_a_call_page_or_person(web: httpx.Client) -> None:
    post(web, calls(connect("c_secret")))
    text = get(web, "/metrics").text
    assert not any(told in text for told in ("c_secret", PAGE, "5275811702471834"))


async def test_a_call_that_nobody_takes_meets_its_deadline_by_the_web_process_alone(
    web: httpx.Client, bus: Bus
) -> None:
    """The timestamp is years ago, so that its time is up on arrival."""
    post(web, calls(connect(sent_s=1671644824)))
    async with asyncio.timeout(10):
        while True:
            if await kinds(bus) == ["Arrived", "DeadlinePassed"]:
                break
            await asyncio.sleep(0.05)
