"""Messages on a real Valkey and a real action worker: sent once, what came of them, and who learns what they say."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
import redis
from structlog.testing import capture_logs
from typer.testing import CliRunner

from pageline.cli import app
from shared import jobs
from shared.bus import Bus
from shared.calls import facts
from shared.errors import MessageFailed
from shared.messenger import Messenger, Outbox, Parcel
from shared.meta.messages import call_prompt, composed, optin
from shared.wire import Wire
from tests.integration.graph_server import HANGS_UP, TRANSIENT, Reply, Server, error
from workers.action.graph import Graph
from workers.action.jobs import Desk
from workers.action.messages import send
from workers.action.pool import PoolWorker

PAGE: Final = "106378625516323"
PSID: Final = "5275811702471834"
CALL: Final = "c_1"
SECRET: Final = "the key is under the mat"
TAKEN: Final = Reply(200, json.dumps({"recipient_id": PSID, "message_id": "m_1"}).encode())
OUTSIDE_WINDOW: Final = error(
    10, error_subcode=2018278, message="(#10) This message is sent outside of allowed window."
)
GATEWAY: Final = Reply(502, b"<html>bad gateway</html>")


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()
    assert not server.replies, "a reply was laid out that nobody asked for"


@pytest.fixture
async def desk(bus: Bus, graph_server: Server) -> AsyncIterator[Desk]:
    async with Graph(graph_server.url, "v23.0") as graph:
        yield Desk(bus=bus, graph=graph, tokens={PAGE: "t"})


@contextlib.asynccontextmanager
async def action_worker(redis_url: str, desk: Desk) -> AsyncIterator[None]:
    with redis.Redis.from_url(redis_url) as connection:
        worker = PoolWorker(jobs.QUEUES, connection=connection, url=redis_url)
        serving = asyncio.create_task(worker.serve(desk, handle_signals=False))
        try:
            yield
        finally:
            worker.stop()
            await serving


@pytest.fixture
async def at_work(redis_url: str, desk: Desk) -> AsyncIterator[None]:
    async with action_worker(redis_url, desk):
        yield


@pytest.fixture
def messenger(bus: Bus, at_work: None) -> Messenger:
    return Messenger(bus)


async def ring(bus: Bus) -> None:
    now_ms = await bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    arrived = facts.Arrived(
        page=PAGE, consumer=PSID, direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(CALL, arrived, identity="connect")


async def on_record(bus: Bus) -> list[facts.Fact]:
    kinds = (facts.MessageSent, facts.MessageFailed)
    return [entry.fact for entry in await bus.read_log(CALL) if isinstance(entry.fact, kinds)]


async def keys_that_hold(bus: Bus, text: str) -> list[str]:
    """Every key of the server's whose value has this text in it, in whatever way it is kept."""
    found = []
    for key in await bus.wire.call("KEYS", "*"):
        kind = (await bus.wire.call("TYPE", key)).decode()
        read: tuple[Any, ...] = {
            "string": ("GET", key),
            "hash": ("HGETALL", key),
            "list": ("LRANGE", key, 0, -1),
            "set": ("SMEMBERS", key),
            "zset": ("ZRANGE", key, 0, -1),
            "stream": ("XRANGE", key, "-", "+"),
            "none": ("EXISTS", key),  # it has gone meanwhile
        }[kind]
        if text in repr(await bus.wire.call(*read)):
            found.append(key.decode())
    return found


# --- sent ---


@pytest.mark.meta("7.4-reply")
async def test_a_message_is_sent_as_documented_and_its_id_comes_back(
    messenger: Messenger, graph_server: Server
) -> None:
    graph_server.will(TAKEN)

    assert await messenger.send(PAGE, PSID, call_prompt(5)) == "m_1"

    (request,) = graph_server.requests
    assert request.path == f"/v23.0/{PAGE}/messages"
    assert request.headers["authorization"] == "Bearer t"
    prompt = {"type": "template", "payload": {"template_type": "call_prompt", "ttl_days": 5}}
    assert json.loads(request.body) == {"recipient": {"id": PSID}, "message": {"attachment": prompt}}


@pytest.mark.parametrize(
    "answer",
    [
        {"recipient": {"id": PSID}, "message_id": "m_1"},
        {"recipient_id": PSID, "message_id": "m_1"},
        {"recipient": {"id": PSID, "message_id": "m_1"}},
    ],
)
async def test_any_documented_answer_will_do(messenger: Messenger, graph_server: Server, answer: Any) -> None:
    graph_server.will(Reply(200, json.dumps(answer).encode()))
    assert await messenger.send(PAGE, PSID, optin()) == "m_1"


async def test_of_many_messages_at_once_each_learns_its_own_id(messenger: Messenger, graph_server: Server) -> None:
    graph_server.will(*(Reply(200, b'{"message_id":"m_%d"}' % number) for number in range(30)))

    told = await asyncio.gather(*(messenger.send(PAGE, f"{number}", optin()) for number in range(30)))

    heard = [json.loads(request.body)["recipient"]["id"] for request in graph_server.requests]
    assert told == [f"m_{heard.index(str(number))}" for number in range(30)]


async def test_it_is_on_the_call_s_record_without_its_words(
    messenger: Messenger, bus: Bus, graph_server: Server
) -> None:
    await ring(bus)
    held: list[str] = []

    async def look() -> None:
        held.extend(await keys_that_hold(bus, SECRET))

    graph_server.will(TAKEN._replace(first=look))
    with capture_logs() as lines:
        await messenger.send(PAGE, PSID, composed(SECRET), call_id=CALL)

    (fact,) = await on_record(bus)
    assert isinstance(fact, facts.MessageSent)
    assert (fact.kind, fact.message_id) == ("text", "m_1")
    (key,) = held
    assert ":message:" in key, "nothing else holds it on its way"
    assert await keys_that_hold(bus, SECRET) == []
    assert SECRET not in repr(lines)
    assert PSID not in repr(lines)


async def test_what_belongs_to_a_call_goes_before_what_does_not(bus: Bus) -> None:
    hurry = Messenger(bus, taken_within_s=0.05)
    for call_id in ("", CALL):
        with pytest.raises(MessageFailed):
            await hurry.send(PAGE, PSID, optin(), call_id=call_id)
    assert await bus.wire.call("LLEN", "rq:queue:bulk") == 1
    assert await bus.wire.call("LLEN", "rq:queue:control") == 1


# --- not sent ---


async def failure(sending: Awaitable[str]) -> MessageFailed:
    with pytest.raises(MessageFailed) as failed:
        await sending
    return failed.value


@pytest.mark.meta("7.4-errors", "7.5-errors")
async def test_what_graph_refuses_is_told_with_its_codes_and_a_remedy(
    messenger: Messenger, bus: Bus, graph_server: Server
) -> None:
    await ring(bus)
    graph_server.will(OUTSIDE_WINDOW)

    failed = await failure(messenger.send(PAGE, PSID, composed("Hello"), call_id=CALL))

    assert (failed.cause, failed.code, failed.subcode, failed.fbtrace_id) == ("graph", 10, 2018278, "trace")
    assert "24 hours" in failed.remedy
    assert not failed.ambiguous
    (fact,) = await on_record(bus)
    assert isinstance(fact, facts.MessageFailed)
    assert (fact.kind, fact.cause, fact.code, fact.subcode) == ("text", "graph", 10, 2018278)


@pytest.mark.parametrize("message", [composed("Hello"), optin()], ids=["a text", "a permission request"])
@pytest.mark.parametrize(
    ("reply", "ambiguous"),
    [(HANGS_UP, True), (GATEWAY, True), (Reply(200, b"{}"), True), (TRANSIENT, False), (Reply(404, b"no"), False)],
    ids=["no reply", "a gateway's", "without an id", "a transient error", "no such edge"],
)
async def test_what_may_have_arrived_is_not_sent_again(
    messenger: Messenger, graph_server: Server, message: Any, reply: Reply, ambiguous: bool
) -> None:
    graph_server.will(reply)
    failed = await failure(messenger.send(PAGE, PSID, message))
    assert failed.ambiguous is ambiguous
    assert len(graph_server.requests) == 1


async def test_what_never_left_is_sent_once_graph_is_there(bus: Bus, redis_url: str) -> None:
    server = Server()
    server.will(TAKEN)
    async with Graph(server.url, "v23.0") as graph:
        desk = Desk(bus=bus, graph=graph, tokens={PAGE: "t"})
        async with action_worker(redis_url, desk):
            sending = asyncio.create_task(Messenger(bus).send(PAGE, PSID, optin()))
            await asyncio.sleep(0.3)  # for some attempts to be refused
            await server.listen()
            assert await sending == "m_1"
    await server.close()
    assert len(server.requests) == 1


async def test_a_page_without_a_token_is_told_so(messenger: Messenger, graph_server: Server) -> None:
    failed = await failure(messenger.send("7", PSID, optin()))
    assert failed.cause == "no_token"
    assert "PAGE_TOKENS" in str(failed)
    assert graph_server.requests == []


async def test_a_message_is_sent_under_the_token_that_was_made_meanwhile(
    messenger: Messenger, desk: Desk, graph_server: Server
) -> None:
    tokens = dict(desk.tokens)
    desk.tokens, desk.look_again = tokens, lambda: tokens.update({PAGE: "another"})
    graph_server.will(error(190, status=401, error_subcode=463), TAKEN)
    assert await messenger.send(PAGE, PSID, optin()) == "m_1"
    assert [request.headers["authorization"] for request in graph_server.requests] == ["Bearer t", "Bearer another"]


@pytest.mark.meta("5.3-limit")
async def test_one_who_was_asked_too_often_does_not_hold_up_the_page(
    messenger: Messenger, desk: Desk, graph_server: Server
) -> None:
    graph_server.will(error(613, error_subcode=1893016), error(613))
    failed = await failure(messenger.send(PAGE, PSID, optin()))
    assert "tomorrow" in failed.remedy
    assert await desk.breaker.paused_s(PAGE) == 0
    await failure(messenger.send(PAGE, PSID, composed("Hello")))
    assert await desk.breaker.paused_s(PAGE) > 0, "any other limit is the Page's"


async def test_a_message_that_a_dead_worker_had_in_hand_is_not_sent_again(
    desk: Desk, bus: Bus, graph_server: Server
) -> None:
    outbox = Outbox(bus.wire)
    await outbox.put("1", Parcel(PAGE, "text", b"{}", "", "somebody"))
    await outbox.take("1", "a run that died")

    assert await send(desk, "1") == "no_reply"

    ((_, _, outcome),) = await outbox.outcomes("somebody", bus.wire, "0-0")
    assert outcome.ambiguous
    assert graph_server.requests == []
    assert await send(desk, "1") == "gone", "and it is said once"


async def test_a_message_that_nobody_took_in_time_is_not_sent_later(
    bus: Bus, desk: Desk, redis_url: str, graph_server: Server
) -> None:
    failed = await failure(Messenger(bus, taken_within_s=0.1).send(PAGE, PSID, optin()))
    assert failed.cause == "not_taken"
    assert not failed.ambiguous
    assert "pageline action" in str(failed)

    async with action_worker(redis_url, desk):
        graph_server.will(TAKEN)
        assert await Messenger(bus).send(PAGE, PSID, optin()) == "m_1"  # which waited behind the other
    assert len(graph_server.requests) == 1


async def test_a_message_that_was_sent_cannot_be_called_off(desk: Desk, bus: Bus, graph_server: Server) -> None:
    outbox = Outbox(bus.wire)
    await outbox.put("1", Parcel(PAGE, "text", b"{}", "", "somebody"))
    graph_server.will(TAKEN)
    assert await send(desk, "1") == "sent"
    assert await outbox.take("1", "called off") != "called off"


async def test_failures_say_nothing_about_whether_calls_can_be_answered(
    messenger: Messenger, desk: Desk, bus: Bus, graph_server: Server
) -> None:
    for _ in range(6):
        graph_server.will(OUTSIDE_WINDOW)
        await failure(messenger.send(PAGE, PSID, optin()))
    assert await desk.breaker.troubles() == []
    assert await bus.dead_letter_counts() == {}


# --- the command line ---


@pytest.fixture
def pageline(redis_url: str) -> Callable[..., Any]:
    async def run(*arguments: str) -> Any:
        invoke = CliRunner(env=os.environ | {"REDIS_URL": redis_url}).invoke
        with capture_logs():  # the worker's, in this process, would be among what the command prints
            return await asyncio.to_thread(invoke, app, arguments)

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("message", PSID, "Hello"), {"text": "Hello"}),
        (("optin", PSID), optin().content),
        (("call-prompt", PSID, "--ttl-days", "5"), call_prompt(5).content),
        (
            ("message", PSID, "We are open.", "--title", "The shop", "--button", "Call now", "--days", "2"),
            composed("We are open.", title="The shop", call_button="Call now", days=2).content,
        ),
    ],
    ids=["message", "optin", "call-prompt", "message with a button"],
)
async def test_commands_send(
    pageline: Callable[..., Any], at_work: None, graph_server: Server, arguments: tuple[str, ...], message: Any
) -> None:
    graph_server.will(TAKEN)
    done = await pageline(*arguments, "--page", PAGE, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["message_id"] == "m_1"
    assert json.loads(graph_server.requests[0].body)["message"] == message


async def test_a_command_that_fails_says_why_and_what_to_do(
    pageline: Callable[..., Any], at_work: None, graph_server: Server
) -> None:
    graph_server.will(OUTSIDE_WINDOW, OUTSIDE_WINDOW)
    done = await pageline("optin", PSID, "--page", PAGE, "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["sent"], told["code"], told["subcode"]) == (False, 10, 2018278)
    done = await pageline("optin", PSID, "--page", PAGE)
    assert done.exit_code == 1
    assert "24 hours" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("message", PSID, ""),
        ("message", PSID, "Hello", "--title", "x"),
        ("call-prompt", PSID, "--ttl-days", "8"),
        ("optin", " "),
    ],
)
async def test_what_meta_would_not_take_is_bad_usage(pageline: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    done = await pageline(*arguments, "--page", PAGE)
    assert done.exit_code == 2
    assert done.stderr.startswith("pageline: ")
