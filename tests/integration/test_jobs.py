"""Jobs of the action worker against a small real HTTP server and a real bus: what is sent, what becomes a fact."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from shared.actions import FORWARD_KEPT_S, job_id_of
from shared.bus import STASH, Bus, Fenced
from shared.calls import facts
from shared.meta.graph import request_body
from shared.redis_address import Address
from shared.wire import Wire
from tests.integration.graph_server import ANSWERS, API, DONE, HANGS_UP, TRANSIENT, Reply, Server, error
from workers.action.graph import Graph
from workers.action.jobs import Desk, act, forward
from workers.action.verdict import Sent

PAGE: Final = "106378625516323"
TOKEN: Final = "page-token"
CALL: Final = "c_1"
OFFER: Final = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
WITHIN_S: Final = 15.0


@pytest.fixture
async def graph_server() -> AsyncIterator[Server]:
    server = Server()
    await server.listen()
    yield server
    await server.close()
    assert not server.replies, "a reply was laid out that nobody asked for"


# -- a call that rings, owned by worker `one` under epoch 1 ------------------------------------------------------------


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


async def ring(bus: Bus) -> None:
    now_ms = await bus.beat("one", lease_ms=60_000, capacity=5, join=True)
    arrived = facts.Arrived(
        page=PAGE, consumer="2", direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(CALL, arrived, identity="connect")
    await bus.route(CALL, facts.OfferMade(sdp=OFFER, epoch=1))


@contextlib.asynccontextmanager
async def at_work(bus: Bus, server: Server, *, tokens: dict[str, str] | None = None) -> AsyncIterator[Desk]:
    async with Graph(server.url, "v23.0") as graph:
        yield Desk(
            bus=bus,
            graph=graph,
            tokens={PAGE: TOKEN} if tokens is None else tokens,
            forward_url=f"{server.url}/inbox",
        )


@pytest.fixture
async def desk(bus: Bus, graph_server: Server) -> AsyncIterator[Desk]:
    await ring(bus)
    async with at_work(bus, graph_server) as desk:
        yield desk


async def run(desk: Desk, action: str, *, epoch: int = 1, life_ms: int = 6_000) -> str:
    async with asyncio.timeout(WITHIN_S):
        return await act(desk, CALL, PAGE, action, epoch, desk.bus.now_ms() + life_ms)


async def found(bus: Bus, *kinds: type[facts.Fact]) -> list[facts.Fact]:
    return [entry.fact for entry in await bus.read_log(CALL) if isinstance(entry.fact, kinds)]


async def outcome(bus: Bus) -> facts.Fact:
    """The one fact in which the action ended."""
    (fact,) = await found(bus, facts.AnswerReceived, facts.ActionSettled, facts.ActionFailed)
    return fact


async def failure(bus: Bus) -> facts.ActionFailed:
    fact = await outcome(bus)
    assert isinstance(fact, facts.ActionFailed)
    assert fact.epoch == 1
    return fact


# -- an accept that is taken -------------------------------------------------------------------------------------------


@pytest.mark.meta("3.1-id", "4.2-platform", "4.2-session", "4.3-accept", "4.3-flat")
async def test_an_accept_is_sent_as_documented(desk: Desk, graph_server: Server) -> None:
    graph_server.will(ANSWERS)
    assert await run(desk, "accept") == "settled"

    (request,) = graph_server.requests
    assert request.path == f"/v23.0/{PAGE}/calls"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "platform": "messenger",
        "call_id": CALL,
        "action": "accept",
        "session": {"sdp_type": "offer", "sdp": OFFER},
    }


@pytest.mark.meta("4.2-sdp", "4.2-optional")
@pytest.mark.parametrize(
    ("sample", "renegotiates"),
    [
        ("messenger-accept-response-strings", True),
        ("messenger-accept-response-objects", True),
        ("messenger-accept-response-answer-only", False),
    ],
)
async def test_the_answer_is_a_fact_in_every_documented_spelling(
    desk: Desk, graph_server: Server, sample: str, renegotiates: bool
) -> None:
    plain = json.loads((API / "messenger-accept-response-strings.json").read_text())["session"]
    graph_server.will(Reply(200, (API / f"{sample}.json").read_bytes()))

    await run(desk, "accept")

    answer = await outcome(desk.bus)
    assert isinstance(answer, facts.AnswerReceived)
    assert (answer.sdp, answer.epoch) == (plain["sdp_response"], 1)
    assert answer.renegotiation == (plain["sdp_renegotiation"] if renegotiates else None)


async def test_what_graph_calls_a_request_that_it_took_is_kept(desk: Desk, graph_server: Server) -> None:
    graph_server.will(ANSWERS._replace(headers=("X-FB-Trace-ID: AbC123",)))
    await run(desk, "accept")
    answered = await outcome(desk.bus)
    assert isinstance(answered, facts.AnswerReceived)
    assert answered.fbtrace_id == "AbC123"


async def test_the_accept_is_granted_in_the_log_before_it_is_sent(desk: Desk, graph_server: Server) -> None:
    granted: list[facts.Fact] = []

    async def look() -> None:
        granted.extend(await found(desk.bus, facts.ActionGranted))

    graph_server.will(ANSWERS._replace(first=look))
    await run(desk, "accept")
    assert [(fact.epoch, type(fact)) for fact in granted] == [(1, facts.ActionGranted)]


async def test_the_newest_offer_of_this_epoch_is_sent(desk: Desk, graph_server: Server) -> None:
    await desk.bus.route(CALL, facts.OfferMade(sdp="v=0 newer", epoch=1))
    graph_server.will(ANSWERS)
    await run(desk, "accept")
    assert json.loads(graph_server.requests[0].body)["session"]["sdp"] == "v=0 newer"


# -- an accept that is tried again -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [TRANSIENT, error(613, retry_after_s=0), error(80006, status=429, retry_after_s=0)],
    ids=["transient", "limited", "limited with 429"],
)
async def test_an_accept_is_sent_again_after_an_error_that_allows_it(
    desk: Desk, graph_server: Server, first: Reply
) -> None:
    graph_server.will(first, ANSWERS)
    assert await run(desk, "accept") == "settled"
    assert len(graph_server.requests) == 2
    assert isinstance(await outcome(desk.bus), facts.AnswerReceived)


async def test_graph_says_how_long_to_wait(desk: Desk, graph_server: Server) -> None:
    heard_s: list[float] = []

    async def note() -> None:
        heard_s.append(asyncio.get_running_loop().time())

    graph_server.will(error(2, is_transient=True, retry_after_s=1)._replace(first=note), ANSWERS._replace(first=note))
    await run(desk, "accept")
    assert heard_s[1] - heard_s[0] >= 1


async def test_an_accept_that_never_left_is_sent_once_graph_can_be_reached(bus: Bus) -> None:
    await ring(bus)
    server = Server()
    server.will(ANSWERS)
    async with at_work(bus, server) as desk:
        with capture_logs() as lines:
            accepting = asyncio.create_task(run(desk, "accept"))
            await said(lines, "action.attempted")
            await server.listen()
            assert await accepting == "settled"
    await server.close()
    assert len(server.requests) == 1
    assert isinstance(await outcome(bus), facts.AnswerReceived)


async def test_a_request_that_cannot_be_written_never_left_and_shows_no_token(graph_server: Server) -> None:
    async with Graph(graph_server.url, "v23.0") as graph:
        attempt = await graph.request("POST", "1", "calls", "secret\nsecret", body=request_body("reject", CALL))
    assert (attempt.sent, graph_server.requests) == (Sent.NEVER, [])
    assert "secret" not in repr(attempt)


async def test_a_request_proves_that_it_is_the_apps(graph_server: Server) -> None:
    graph_server.will(DONE, DONE)
    async with Graph(graph_server.url, "v23.0", app_secret=b"test_app_secret") as graph:
        await graph.request("POST", "1", "calls", "EAAtestPageToken", body=request_body("reject", CALL))
        await graph.request("GET", "1", "subscribed_apps", "EAAtestPageToken", params={"fields": "id"})
    proof = "5eb1cd2d0c2c31fe7f8fd10e67c9595479c487e9697a1926b422061ad09cdc49"  # Meta's own vector
    assert [request.path for request in graph_server.requests] == [
        f"/v23.0/1/calls?appsecret_proof={proof}",
        f"/v23.0/1/subscribed_apps?fields=id&appsecret_proof={proof}",
    ]


async def said(lines: list[MutableMapping[str, Any]], event: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if any(line["event"] == event for line in lines):
                return
            await asyncio.sleep(0.01)


async def test_an_accept_that_never_left_in_all_its_time_is_not_ambiguous(bus: Bus) -> None:
    await ring(bus)
    server = Server()  # bound, but nobody listens
    async with at_work(bus, server) as desk:
        assert await run(desk, "accept", life_ms=400) == "failed"
    await server.close()
    failed = await failure(bus)
    assert (failed.cause, failed.ambiguous) == ("unreachable", False)
    assert failed.attempts >= 1


@pytest.mark.parametrize("action", ["accept", "terminate"])
async def test_an_action_that_runs_out_of_time_says_what_graph_said_last(
    desk: Desk, graph_server: Server, action: str
) -> None:
    graph_server.will_for_ever(TRANSIENT)
    assert await run(desk, action, life_ms=900) == "failed"
    failed = await failure(desk.bus)
    assert (failed.cause, failed.code, failed.fbtrace_id, failed.status) == ("graph", 2, "trace", 400)
    assert failed.attempts == len(graph_server.requests) > 1


# -- an accept of which nobody knows whether it arrived ----------------------------------------------------------------

AMBIGUOUS: Final = [
    pytest.param(HANGS_UP, id="no reply"),
    pytest.param(Reply(502, b"<html>bad gateway</html>"), id="a gateway's reply"),
    pytest.param(Reply(503), id="an empty 503"),
]


@pytest.mark.meta("4.3-once")
@pytest.mark.parametrize("first", AMBIGUOUS)
async def test_an_ambiguous_accept_is_probed_with_the_same_offer_and_an_answer_saves_the_call(
    desk: Desk, graph_server: Server, first: Reply
) -> None:
    graph_server.will(first, ANSWERS)
    assert await run(desk, "accept") == "settled"
    sent, probe = graph_server.requests
    assert probe.body == sent.body
    assert isinstance(await outcome(desk.bus), facts.AnswerReceived)


@pytest.mark.parametrize("first", AMBIGUOUS)
@pytest.mark.parametrize(
    "second",
    [
        pytest.param(error(100, message="Call already accepted"), id="already accepted"),
        pytest.param(TRANSIENT, id="a transient error"),
        pytest.param(HANGS_UP, id="no reply again"),
        pytest.param(Reply(503), id="an empty 503 again"),
    ],
)
async def test_whatever_else_the_probe_brings_is_the_end_and_ambiguous(
    desk: Desk, graph_server: Server, first: Reply, second: Reply
) -> None:
    graph_server.will(first, second)
    assert await run(desk, "accept") == "failed"
    assert len(graph_server.requests) == 2
    failed = await failure(desk.bus)
    assert (failed.action, failed.ambiguous, failed.attempts) == ("accept", True, 2)
    assert failed.cause in ("graph", "unreachable"), "what the probe brought is kept"


@pytest.mark.meta("4.2-success")
async def test_success_without_an_answer_cannot_be_repaired(desk: Desk, graph_server: Server) -> None:
    graph_server.will(DONE)
    assert await run(desk, "accept") == "failed"
    assert (await failure(desk.bus)).ambiguous


# -- an accept that is refused -----------------------------------------------------------------------------------------


async def test_what_graph_refuses_is_a_fact_with_all_it_said_and_a_dead_letter(
    desk: Desk, graph_server: Server
) -> None:
    graph_server.will(error(100, message="Invalid SDP", error_subcode=2018392, is_transient=False))
    assert await run(desk, "accept") == "failed"
    failed = await failure(desk.bus)
    said = (failed.cause, failed.message, failed.code, failed.subcode, failed.fbtrace_id, failed.status)
    assert said == ("graph", "Invalid SDP", 100, 2018392, "trace", 400)
    assert (failed.attempts, failed.ambiguous) == (1, False)
    assert await desk.bus.dead_letter_counts() == {"action_graph": 1}


async def test_a_retry_after_beyond_the_deadline_is_not_waited_for(desk: Desk, graph_server: Server) -> None:
    graph_server.will(error(613, retry_after_s=3_600))
    async with asyncio.timeout(3):
        assert await run(desk, "accept") == "failed"
    failed = await failure(desk.bus)
    assert (failed.cause, failed.code) == ("graph", 613)


async def test_without_a_token_nothing_is_sent_and_a_dead_letter_says_why(bus: Bus, graph_server: Server) -> None:
    await ring(bus)
    async with at_work(bus, graph_server, tokens={"another page": TOKEN}) as desk:
        assert await run(desk, "accept") == "failed"
    failed = await failure(bus)
    assert failed.cause == "no_token"
    assert PAGE in failed.message
    assert "PAGE_TOKENS" in failed.message
    assert await bus.dead_letter_counts() == {"no_page_token": 1}
    assert graph_server.requests == []


@pytest.mark.meta("4.1-window")
@pytest.mark.parametrize("action", ["accept", "reject", "terminate"])
async def test_after_its_deadline_nothing_is_sent(desk: Desk, graph_server: Server, action: str) -> None:
    assert await run(desk, action, life_ms=-1) == "failed"
    failed = await failure(desk.bus)
    assert (failed.action, failed.cause, failed.attempts, failed.ambiguous) == (action, "too_late", 0, False)
    assert await desk.bus.dead_letter_counts() == {"action_too_late": 1}
    assert graph_server.requests == []
    assert await found(desk.bus, facts.ActionGranted) == []


@pytest.mark.parametrize("action", ["accept", "reject", "terminate"])
async def test_an_epoch_that_is_over_sends_nothing_and_says_nothing(
    desk: Desk, graph_server: Server, action: str
) -> None:
    await desk.bus.handoff(CALL, "one", 1)
    before = await desk.bus.read_log(CALL)
    assert await run(desk, action) == "stale"
    assert await desk.bus.read_log(CALL) == before
    assert await desk.bus.dead_letter_counts() == {}
    assert graph_server.requests == []


async def test_a_call_that_is_closed_is_left_alone(desk: Desk, graph_server: Server) -> None:
    await desk.bus.done(CALL, "one", 1, "completed")
    assert await run(desk, "terminate") == "stale"
    assert graph_server.requests == []


async def test_an_accept_without_an_offer_of_its_epoch_sends_nothing(desk: Desk, graph_server: Server) -> None:
    await desk.bus.handoff(CALL, "one", 1)
    assert await run(desk, "accept", epoch=2) == "stale"
    assert graph_server.requests == []


async def test_an_accept_after_a_farewell_is_refused_and_sends_nothing(desk: Desk, graph_server: Server) -> None:
    assert await desk.bus.fence(CALL, 1, "reject", "goodbye") is Fenced.GO
    assert await run(desk, "accept") == "failed"
    assert (await failure(desk.bus)).cause == "refused"
    assert graph_server.requests == []


# -- a job that runs again because its worker died ---------------------------------------------------------------------


@pytest.fixture
async def granted(desk: Desk) -> Desk:
    """The accept was granted to this very job before; perhaps it was sent, too."""
    assert await desk.bus.fence(CALL, 1, "accept", job_id_of("accept", CALL, 1)) is Fenced.GO
    return desk


async def test_a_granted_job_that_runs_again_probes_and_an_answer_saves_the_call(
    granted: Desk, graph_server: Server
) -> None:
    graph_server.will(ANSWERS)
    assert await run(granted, "accept") == "settled"
    assert isinstance(await outcome(granted.bus), facts.AnswerReceived)


@pytest.mark.parametrize("reply", [TRANSIENT, HANGS_UP, error(100)], ids=["transient", "no reply", "for good"])
async def test_a_granted_job_that_runs_again_probes_once(granted: Desk, graph_server: Server, reply: Reply) -> None:
    graph_server.will(reply)
    assert await run(granted, "accept") == "failed"
    assert (await failure(granted.bus)).ambiguous


async def test_a_job_that_runs_a_third_time_sends_nothing(granted: Desk, graph_server: Server) -> None:
    await granted.bus.fence(CALL, 1, "accept", job_id_of("accept", CALL, 1), probe=True)
    assert await run(granted, "accept") == "failed"
    assert (await failure(granted.bus)).ambiguous
    assert graph_server.requests == []


async def test_a_job_that_runs_again_after_its_success_sends_nothing(desk: Desk, graph_server: Server) -> None:
    graph_server.will(ANSWERS)
    await run(desk, "accept")
    await run(desk, "accept")
    assert isinstance(await outcome(desk.bus), facts.AnswerReceived)
    assert len(graph_server.requests) == 1


async def test_a_job_that_runs_again_after_it_failed_sends_nothing(desk: Desk, graph_server: Server) -> None:
    graph_server.will(error(100))
    await run(desk, "accept")
    await run(desk, "accept")
    assert isinstance(await outcome(desk.bus), facts.ActionFailed)
    assert len(graph_server.requests) == 1


# -- farewells ---------------------------------------------------------------------------------------------------------


@pytest.mark.meta("4.4-terminate", "4.4-success")
@pytest.mark.parametrize("action", ["reject", "terminate"])
async def test_a_farewell_that_graph_takes_is_settled(desk: Desk, graph_server: Server, action: str) -> None:
    graph_server.will(DONE)
    assert await run(desk, action) == "settled"
    settled = await outcome(desk.bus)
    assert isinstance(settled, facts.ActionSettled)
    assert (settled.action, settled.attempts, settled.epoch) == (action, 1, 1)
    assert json.loads(graph_server.requests[0].body) == {"platform": "messenger", "call_id": CALL, "action": action}


@pytest.mark.meta("4.4-over")
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(error(100, message="Call already terminated"), id="already terminated"),
        pytest.param(error(100, message="Call already rejected"), id="already rejected"),
        pytest.param(Reply(400, (API / "graph-error-call-ended.json").read_bytes()), id="over"),
        pytest.param(Reply(400, (API / "graph-error-call-ended-as-subcode.json").read_bytes()), id="over, as subcode"),
    ],
)
async def test_a_farewell_to_a_call_that_is_over_is_settled(desk: Desk, graph_server: Server, reply: Reply) -> None:
    graph_server.will(reply)
    assert await run(desk, "terminate") == "settled"
    assert isinstance(await outcome(desk.bus), facts.ActionSettled)
    assert await desk.bus.dead_letter_counts() == {}


async def test_a_farewell_is_tried_until_it_is_taken(desk: Desk, graph_server: Server) -> None:
    graph_server.will(HANGS_UP, TRANSIENT, Reply(502, b"<html>"), DONE)
    assert await run(desk, "terminate") == "settled"
    settled = await outcome(desk.bus)
    assert isinstance(settled, facts.ActionSettled)
    assert settled.attempts == 4


@pytest.mark.meta("4.4-permission")
async def test_a_farewell_that_graph_refuses_for_good_is_a_dead_letter(desk: Desk, graph_server: Server) -> None:
    graph_server.will(Reply(401, (API / "graph-error-token-expired.json").read_bytes()))
    assert await run(desk, "terminate") == "failed"
    assert (await failure(desk.bus)).code == 190
    assert await desk.bus.dead_letter_counts() == {"action_graph": 1}


async def test_a_farewell_ends_when_the_call_gets_another_owner_meanwhile(desk: Desk, graph_server: Server) -> None:
    async def take_over() -> None:
        await desk.bus.beat("two", lease_ms=60_000, capacity=5, join=True)
        await desk.bus.beat("one", lease_ms=0)

    graph_server.will(TRANSIENT._replace(first=take_over))
    assert await run(desk, "terminate") == "stale"
    assert len(graph_server.requests) == 1


# -- Redis goes away in between ----------------------------------------------------------------------------------------


class Cable:
    """A way to Redis that can be cut and mended."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry_both_ways, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://:{self._to.password}@127.0.0.1:{self.port}"

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _carry_both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to = self._to
        far = asyncio.open_unix_connection(to.path) if to.path else asyncio.open_connection(to.host, to.port)
        far_reader, far_writer = await far
        ends = {writer, far_writer}
        self._ends |= ends
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
        self._ends -= ends


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def cable(redis_url: str) -> AsyncIterator[Cable]:
    cable = Cable(Address.from_url(redis_url))
    await cable.mend()
    yield cable
    await cable.cut()


@pytest.mark.parametrize("action", ["accept", "terminate"])
async def test_what_graph_said_is_kept_until_redis_is_back(
    bus: Bus, graph_server: Server, cable: Cable, action: str
) -> None:
    """Graph's reply exists nowhere else."""
    await ring(bus)
    graph_server.will((ANSWERS if action == "accept" else DONE)._replace(first=cable.cut))
    async with Wire.from_url(cable.url) as wire, at_work(Bus(wire), graph_server) as desk:
        with capture_logs() as lines:
            acting = asyncio.create_task(run(desk, action))
            await said(lines, "redis.lost")
            await said(lines, "action.attempted")
            assert await found(bus, facts.AnswerReceived, facts.ActionSettled) == []
            await cable.mend()
            assert await acting == "settled"
    assert isinstance(await outcome(bus), facts.AnswerReceived | facts.ActionSettled)
    assert len(graph_server.requests) == 1


async def test_nothing_is_sent_while_redis_cannot_be_asked(bus: Bus, graph_server: Server, cable: Cable) -> None:
    await ring(bus)
    graph_server.will(ANSWERS)
    async with Wire.from_url(cable.url) as wire, at_work(Bus(wire), graph_server) as desk:
        with capture_logs() as lines:
            await cable.cut()
            await said(lines, "redis.lost")
            acting = asyncio.create_task(run(desk, "accept"))
            await asyncio.sleep(0)
            assert graph_server.requests == []
            await cable.mend()
            assert await acting == "settled"
    assert isinstance(await outcome(bus), facts.AnswerReceived)


# -- passing webhooks on -----------------------------------------------------------------------------------------------

BODY: Final = b'{"object":"page","entry":[{"messaging":[{"text":"\\u00e4"}]}]}'


async def test_a_webhook_is_passed_on_as_it_came_with_its_signature(desk: Desk, graph_server: Server) -> None:
    await desk.bus.stash("digest", BODY, b"sha256=abc", ttl_s=60)
    graph_server.will(Reply(200))
    assert await forward(desk, "digest") == "forwarded"
    (request,) = graph_server.requests
    assert (request.path, request.body) == ("/inbox", BODY)
    assert request.headers["x-hub-signature-256"] == "sha256=abc"
    assert request.headers["content-type"] == "application/json"
    assert await desk.bus.stashed("digest") is None, "nobody needs it any more"


async def test_a_webhook_that_was_passed_on_and_comes_again_is_neither_kept_nor_passed_on_again(
    desk: Desk, graph_server: Server
) -> None:
    """What Meta repeats is the same to the byte. Its job's id may be free again by then."""
    graph_server.will(Reply(200))
    for _ in range(2):
        await desk.bus.stash("digest", BODY, b"sha256=abc", ttl_s=60)
        await forward(desk, "digest")
    assert len(graph_server.requests) == 1
    assert not [part for part in await desk.bus.wire.call("HVALS", STASH + "digest") if part]
    assert 0 < await desk.bus.wire.call("TTL", STASH + "digest") <= FORWARD_KEPT_S


async def test_a_webhook_is_passed_on_again_until_it_is_taken(desk: Desk, graph_server: Server) -> None:
    await desk.bus.stash("digest", BODY, b"sha256=abc", ttl_s=60)
    graph_server.will(Reply(500), HANGS_UP, Reply(200))
    async with asyncio.timeout(WITHIN_S):
        assert await forward(desk, "digest") == "forwarded"
    assert [request.body for request in graph_server.requests] == [BODY] * 3


async def test_a_webhook_that_its_receiver_refuses_is_a_dead_letter_and_not_sent_again(
    desk: Desk, graph_server: Server
) -> None:
    await desk.bus.stash("digest", BODY, b"sha256=abc", ttl_s=60)
    graph_server.will(Reply(400))
    assert await forward(desk, "digest") == "not forwarded: WEBHOOK_FORWARD_URL answered 400"
    assert len(graph_server.requests) == 1
    assert await desk.bus.dead_letter_counts() == {"not_forwarded": 1}
    assert await desk.bus.stashed("digest") is None, "the letter holds it"


async def test_a_webhook_whose_receiver_is_where_none_may_be_is_a_dead_letter_with_the_remedy(desk: Desk) -> None:
    await desk.bus.stash("digest", BODY, b"sha256=abc", ttl_s=60)
    desk.forward_url = "https://10.1/inbox"  # a name, as far as its text tells
    assert "ALLOW_PRIVATE_URLS" in await forward(desk, "digest")
    assert await desk.bus.dead_letter_counts() == {"not_forwarded": 1}


async def test_a_webhook_that_is_no_longer_kept_is_not_passed_on(desk: Desk, graph_server: Server) -> None:
    assert await forward(desk, "forgotten") == "nothing to forward"
    assert graph_server.requests == []
