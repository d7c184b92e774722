"""Dead letters on a real Valkey: what they hold, and what `pageline dead` and the action worker make of them."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import pytest
import redis
from structlog.testing import capture_logs
from typer.testing import CliRunner

from ingress.webhook import Webhook
from pageline.cli import app
from shared import jobs, settings
from shared.bus import Bus
from shared.calls import facts
from shared.dead import KEPT, DeadLetters, Gone, Letter
from shared.wire import Wire
from tests.integration.graph_server import DONE, TRANSIENT, Reply, Server, error
from workers.action.graph import Graph
from workers.action.jobs import Desk, act, forward
from workers.action.letters import retry
from workers.action.pool import PoolWorker

PAGE: Final = "106378625516323"
CALL: Final = "c_1"
EXPIRED: Final = error(190, status=401, error_subcode=463, message="Error validating access token")
CONNECT: Final = {"id": "c_9", "event": "connect", "timestamp": 1671644824, "from": "2", "to": PAGE}


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


@pytest.fixture
def letters(bus: Bus) -> DeadLetters:
    return bus.dead_letters


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
        yield Desk(bus=bus, graph=graph, tokens={PAGE: "t"}, forward_url=f"{graph_server.url}/inbox")


class Said(NamedTuple):
    """What the command said."""

    status: int
    out: Any
    err: str


@pytest.fixture
def dead(redis_url: str) -> Callable[..., Any]:
    """The command `pageline dead`, with --json."""

    async def run(*arguments: str) -> Said:
        invoke = CliRunner(env=os.environ | {"REDIS_URL": redis_url}).invoke
        done = await asyncio.to_thread(invoke, app, ["dead", *arguments, "--json"])
        return Said(done.exit_code, json.loads(done.stdout) if done.stdout else None, done.stderr)

    return run


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


async def kept(letters: DeadLetters) -> list[Letter]:
    return [letter async for letter in letters.all()]


async def until_gone(letters: DeadLetters, letter_id: str) -> None:
    async with asyncio.timeout(10):
        while await letters.find(letter_id) is not None:  # noqa: ASYNC110 the event is in Redis
            await asyncio.sleep(0.01)


async def a_call(bus: Bus) -> None:
    now_ms = await bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    rings = facts.Arrived(
        page=PAGE, consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(CALL, rings, identity="connect")


async def refused(desk: Desk, server: Server, action: str = "terminate", *replies: Reply) -> Letter:
    """An action that Graph refuses, and the end of its call."""
    await a_call(desk.bus)
    if action == "accept":
        await desk.bus.route(CALL, facts.OfferMade(sdp="v=0", epoch=1))
    server.will(*replies, EXPIRED)
    assert await act(desk, CALL, PAGE, action, 1, desk.bus.now_ms() + 6_000) == "failed"
    await desk.bus.done(CALL, "one", 1, "failed")
    (letter,) = await kept(desk.bus.dead_letters)
    return letter


# -- what they hold ----------------------------------------------------------------------------------------------------


async def test_the_letter_of_an_action_holds_every_attempt_and_the_remedy(desk: Desk, graph_server: Server) -> None:
    letter = await refused(desk, graph_server, "terminate", TRANSIENT)
    assert (letter.why, letter.call_id, letter.page, letter.action) == ("action_graph", CALL, PAGE, "terminate")
    assert (letter.verdict, letter.epoch) == ("hopeless", 1)
    assert letter.buried_ms <= letter.deadline_ms <= letter.buried_ms + 6_000
    first, second = letter.attempts
    assert (first.verdict, first.status, first.code, first.fbtrace_id) == ("again", 400, 2, "trace")
    assert (second.verdict, second.status, second.code, second.subcode) == ("hopeless", 401, 190, 463)
    assert 0 < first.at_ms < second.at_ms <= letter.buried_ms
    assert "has expired" in letter.detail
    assert "PAGE_TOKENS" in letter.detail


async def test_who_hung_up_before_our_answer_came_leaves_no_letter(desk: Desk, graph_server: Server) -> None:
    await a_call(desk.bus)
    await desk.bus.route(CALL, facts.OfferMade(sdp="v=0", epoch=1))
    graph_server.will(error(100, error_subcode=2018396))
    assert await act(desk, CALL, PAGE, "accept", 1, desk.bus.now_ms() + 6_000) == "failed"
    assert [type(entry.fact) for entry in await desk.bus.read_log(CALL)][-1] is facts.ActionFailed
    assert await kept(desk.bus.dead_letters) == []


async def test_an_unreachable_graph_is_told_as_what_was_tried(bus: Bus) -> None:
    await a_call(bus)
    async with Graph("http://127.0.0.1:1", "v23.0") as graph:
        desk = Desk(bus=bus, graph=graph, tokens={PAGE: "t"})
        assert await act(desk, CALL, PAGE, "terminate", 1, bus.now_ms() + 300) == "failed"
    (letter,) = await kept(bus.dead_letters)
    assert (letter.why, letter.verdict) == ("action_unreachable", "again")
    assert all("no connection" in trial.trouble for trial in letter.attempts)


async def test_a_mistake_of_ours_is_a_letter_and_not_tried_again(desk: Desk) -> None:
    await a_call(desk.bus)
    desk.tokens = {PAGE: "\N{EURO SIGN}"}  # no header can hold it
    assert await act(desk, CALL, PAGE, "terminate", 1, desk.bus.now_ms() + 6_000) == "failed"
    (letter,) = await kept(desk.bus.dead_letters)
    assert letter.why == "action_broken"
    assert "UnicodeEncodeError" in letter.detail
    assert [type(entry.fact) for entry in await desk.bus.read_log(CALL)][-1] is facts.ActionFailed


async def test_the_oldest_make_room_and_are_counted(letters: DeadLetters) -> None:
    with capture_logs() as lines:
        await asyncio.gather(*(letters.bury(Letter(why="odd", detail=str(number))) for number in range(KEPT + 3)))
    standing = await letters.standing()
    assert (standing.kept, standing.buried, standing.gone) == (KEPT, {"odd": KEPT + 3}, {Gone.OVERFLOWED: 3})
    assert (await kept(letters))[0].detail == "3"
    assert [line["event"] for line in lines] == ["dead_letters.overflowed"] * 3


# -- list and show -----------------------------------------------------------------------------------------------------


async def test_letters_are_listed_and_shown(letters: DeadLetters, dead: Any) -> None:
    first = await letters.bury(Letter(why="webhook_unreadable", body=b'{"caf\xc3\xa9"'))
    second = await letters.bury(Letter(why="not_forwarded", body=b"\xff", detail="answered 400"))
    listed = await dead("list")
    assert (listed.status, [each["id"] for each in listed.out]) == (0, [second, first])
    assert [each["id"] for each in (await dead("list", "--why", "not_forwarded")).out] == [second]
    assert (await dead("show", first)).out["body"] == '{"café"'
    assert (await dead("show", second)).out["body_base64"] == "/w=="


async def test_an_id_that_no_letter_has_says_so(dead: Any) -> None:
    for verb in ("show", "retry", "drop"):
        said = await dead(verb, "1-0")
        assert said.status == 1
        assert "pageline dead list" in (said.err or said.out[0]["message"])


@pytest.mark.parametrize(
    "arguments", [("retry",), ("drop", "1-0", "--all"), ("drop", "first"), ("show", "-"), ("bury",)]
)
async def test_bad_usage_is_told_apart(dead: Any, arguments: tuple[str, ...]) -> None:
    said = await dead(*arguments)
    assert (said.status, said.out) == (2, None)


# -- retry: a farewell -------------------------------------------------------------------------------------------------


async def test_a_farewell_is_said_although_its_call_is_closed_and_the_letter_goes(
    desk: Desk, graph_server: Server, redis_url: str, dead: Any
) -> None:
    letter = await refused(desk, graph_server)
    there_meanwhile: list[bool] = []

    async def look() -> None:
        there_meanwhile.append(await desk.bus.dead_letters.find(letter.id) is not None)

    graph_server.will(DONE._replace(first=look))
    assert (await dead("retry", letter.id)).status == 0
    async with action_worker(redis_url, desk):
        await until_gone(desk.bus.dead_letters, letter.id)
    assert json.loads(graph_server.requests[-1].body)["action"] == "terminate"
    assert there_meanwhile == [True], "it is nowhere else until the outcome is known"
    assert (await desk.bus.dead_letters.standing()).gone == {Gone.RETRIED: 1}
    said = [type(entry.fact) for entry in await desk.bus.read_log(CALL)]
    assert said[-2:] == [facts.Closed, facts.ActionSettled]


async def test_a_farewell_that_fails_again_keeps_its_letter_with_all_attempts(
    desk: Desk, graph_server: Server, redis_url: str, dead: Any
) -> None:
    letter = await refused(desk, graph_server)
    graph_server.will(EXPIRED)
    await dead("retry", letter.id)
    async with action_worker(redis_url, desk):
        await until_gone(desk.bus.dead_letters, letter.id)
    (newer,) = await kept(desk.bus.dead_letters)
    assert [trial.code for trial in newer.attempts] == [190, 190]
    assert newer.first_buried_ms == letter.buried_ms
    assert (await desk.bus.dead_letters.standing()).buried == {"action_graph": 1}, "it is still the same one"


async def test_a_farewell_is_queued_once(desk: Desk, graph_server: Server, dead: Any) -> None:
    letter = await refused(desk, graph_server)
    assert "already" not in (await dead("retry", letter.id)).out[0]["message"]
    assert "already" in (await dead("retry", "--all")).out[0]["message"]


async def test_a_letter_dropped_while_its_retry_waits_is_not_retried(
    desk: Desk, graph_server: Server, redis_url: str, dead: Any
) -> None:
    letter = await refused(desk, graph_server)
    await dead("retry", letter.id)
    await dead("drop", letter.id)
    with redis.Redis.from_url(redis_url) as client:
        async with action_worker(redis_url, desk), asyncio.timeout(10):
            while not client.zcard("rq:finished:control"):  # noqa: ASYNC110 the event is in Redis
                await asyncio.sleep(0.01)
    assert len(graph_server.requests) == 1


async def test_an_accept_is_never_tried_again(desk: Desk, graph_server: Server, redis_url: str, dead: Any) -> None:
    letter = await refused(desk, graph_server, "accept")
    said = await dead("retry", letter.id)
    assert (said.status, said.out[0]["done"]) == (1, False)
    assert "is over" in said.out[0]["message"]
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("rq:queue:control") == 0
    assert await desk.bus.dead_letters.find(letter.id) == letter


async def test_not_even_a_job_of_somebody_else_s_making_accepts(desk: Desk, graph_server: Server) -> None:
    letter = await refused(desk, graph_server, "accept")
    assert await retry(desk, letter.id, desk.bus.now_ms() + 6_000) == "not retriable"
    assert len(graph_server.requests) == 1


# -- retry: webhooks ---------------------------------------------------------------------------------------------------


async def test_a_webhook_that_can_be_read_by_now_is_routed(bus: Bus, dead: Any) -> None:
    body = json.dumps({"object": "page", "entry": [{"id": PAGE, "calls": [CONNECT]}]}).encode()
    letter_id = await bus.dead_letters.bury(Letter(why="webhook_unreadable", body=body))
    said = await dead("retry", letter_id)
    assert (said.status, said.out[0]["message"]) == (0, "read: Arrived of call c_9")
    assert [type(entry.fact) for entry in await bus.read_log("c_9")] == [facts.Arrived]
    assert await kept(bus.dead_letters) == []


async def test_a_webhook_read_by_a_command_that_was_killed_is_read_once(bus: Bus, dead: Any) -> None:
    body = json.dumps({"object": "page", "entry": [{"id": PAGE, "calls": [CONNECT]}]}).encode()
    for _ in "killed", "again":
        await bus.dead_letters.bury(Letter(why="webhook_unreadable", body=body))
    assert (await dead("retry", "--why", "webhook_unreadable")).status == 0
    assert [type(entry.fact) for entry in await bus.read_log("c_9")] == [facts.Arrived]


async def test_an_odd_element_is_kept_so_that_it_can_be_read_without_its_neighbours(bus: Bus, dead: Any) -> None:
    webhook = Webhook(bus, settings.load({"META_APP_SECRET": "s", "META_VERIFY_TOKEN": "v"}))
    calls = [CONNECT | {"id": "c_8"}, CONNECT | {"call_direction": "sideways"}]
    body = json.dumps({"object": "page", "entry": [{"id": PAGE, "calls": calls}]}).encode()
    signed = b"sha256=" + hmac.new(b"s", body, hashlib.sha256).hexdigest().encode()
    assert await webhook.take(body, signed) == 200
    (letter,) = await kept(bus.dead_letters)
    assert b"c_8" not in letter.body
    mended = letter.body.replace(b"sideways", b"user_initiated")  # as if today's code knew that direction
    await bus.dead_letters.bury(Letter(why="webhook_unreadable", body=mended), instead_of=letter.id)
    assert (await dead("retry", "--all")).status == 0
    (entry,) = await bus.read_log("c_9")
    assert isinstance(entry.fact, facts.Arrived)
    assert entry.fact.page == PAGE


async def test_a_webhook_that_is_unreadable_still_stays(bus: Bus, dead: Any) -> None:
    letter_id = await bus.dead_letters.bury(Letter(why="webhook_unreadable", body=b"\xff"))
    said = await dead("retry", "--all")
    assert (said.status, said.out[0]["done"]) == (1, False)
    assert await bus.dead_letters.find(letter_id) is not None


async def test_a_webhook_is_passed_on_again_as_it_came(
    desk: Desk, graph_server: Server, redis_url: str, dead: Any
) -> None:
    await desk.bus.stash("digest", b'{"\\u00e4":1}', b"sha256=abc", ttl_s=60)
    graph_server.will(Reply(400))
    await forward(desk, "digest")
    (letter,) = await kept(desk.bus.dead_letters)
    assert [trial.status for trial in letter.attempts] == [400]
    graph_server.will(Reply(200))
    await dead("retry", letter.id)
    async with action_worker(redis_url, desk):
        await until_gone(desk.bus.dead_letters, letter.id)
    again = graph_server.requests[-1]
    assert (again.body, again.headers["x-hub-signature-256"]) == (b'{"\\u00e4":1}', "sha256=abc")


# -- drop --------------------------------------------------------------------------------------------------------------


async def test_letters_are_dropped_by_id_or_by_reason(letters: DeadLetters, dead: Any) -> None:
    odd, odder, other = [await letters.bury(Letter(why=why)) for why in ("odd", "odd", "other")]
    assert (await dead("drop", odd)).out == [{"id": odd, "done": True, "message": "dropped"}]
    assert [each["id"] for each in (await dead("drop", "--why", "odd")).out] == [odder]
    assert [letter.id for letter in await kept(letters)] == [other]
    assert (await letters.standing()).gone == {Gone.DROPPED: 2}


async def test_one_that_is_gone_spares_no_other(letters: DeadLetters, dead: Any) -> None:
    letter_id = await letters.bury(Letter(why="odd"))
    said = await dead("drop", "1-0", letter_id)
    assert (said.status, [each["done"] for each in said.out]) == (1, [False, True])
    assert await kept(letters) == []
