"""Whatever Graph, or what stands in its place, may answer: as text, then over a real connection."""

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.meta.graph import read_reply, request_body
from tests.fuzz.budget import examples
from tests.fuzz.oddities import TEXTS, VALUES, as_json, damaged, mutants, samples
from workers.action.graph import MAX_REPLY_BYTES, WHOLE_REPLY_TIMEOUT_S, Graph
from workers.action.verdict import Attempt, Sent, Verdict, is_ambiguous, is_over, judge

ACTIONS: Final = ("accept", "reject", "terminate")
REPLIES: Final = samples("api", "messenger-accept-response-*.json") + samples("api", "graph-error-*.json")
ANSWERED: Final = json.loads(samples("api", "messenger-accept-response-objects.json")[0])
REFUSED: Final = json.loads(samples("api", "graph-error-token-expired.json")[0])
DEEP: Final = (b"[" * 100_000, b'{"x":' + b"[" * 100_000, b'{"error":' + b"[" * 900 + b"]" * 900 + b"}")

LONE_SURROGATE: Final = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)  # pairs too: nobody misses them here

BODY: Final = st.one_of(
    st.sampled_from(REPLIES).map(json.loads).flatmap(mutants).map(as_json),
    st.sampled_from(REPLIES).flatmap(damaged),
    st.sampled_from([b"", b"<html><h1>502 Bad Gateway</h1></html>", b"null", b"[]", b'"ok"', b"\xff\xfe", *DEEP]),
    VALUES.map(as_json),
    st.binary(max_size=40),
)
STATUS: Final = st.sampled_from([200, 201, 204, 299, 302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 599])


@given(BODY, STATUS, st.sampled_from(ACTIONS), st.booleans())
@examples(400)
def test_any_reply_is_read_and_judged(body: bytes, status: int, action: str, probing: bool) -> None:
    attempt = Attempt(Sent.REPLIED, status=status, reply=read_reply(body))
    verdict = judge(action, attempt, probing=probing)
    assert verdict in Verdict
    assert judge(action, attempt, probing=probing) is verdict
    assert not (probing and verdict is Verdict.AGAIN), "there is one probe and no second"
    if verdict is Verdict.SETTLED and action == "accept":
        assert attempt.reply is not None
        assert attempt.reply.answer
    if attempt.error is not None:
        assert is_over(attempt.error) in (True, False)
    is_ambiguous(action, attempt)


@given(TEXTS, VALUES, st.sampled_from(["success", "call_id", "error_data", "messaging_product"]))
@example("sdp_type", None, "success")
@examples(150)
def test_an_odd_neighbour_never_costs_the_answer(unknown: str, value: Any, beside: str) -> None:
    """Graph's reply to an accept is the only copy there is."""
    reply = json.loads(json.dumps(ANSWERED))
    sound = read_reply(as_json(reply))
    assert sound is not None
    assert sound.answer
    assert sound.renegotiation
    reply[beside] = value
    reply["session"][f"x{unknown}"] = value
    reply["session"]["sdp_response"]["sdp_type"] = value
    body = as_json(reply)
    assume(not LONE_SURROGATE.search(body))
    read = read_reply(body)
    assert read is not None
    assert (read.answer, read.renegotiation) == (sound.answer, sound.renegotiation)


@given(st.sampled_from(["message", "type", "code", "error_subcode", "is_transient", "fbtrace_id", "x"]), VALUES)
@example("message", None)
@example("is_transient", None)
@example("error_subcode", "none")
@examples(150)
def test_an_odd_field_of_an_error_leaves_it_an_error_and_the_others_readable(name: str, value: Any) -> None:
    refusal = json.loads(json.dumps(REFUSED))
    refusal["error"][name] = value
    body = as_json(refusal)
    assume(not LONE_SURROGATE.search(body))
    read = read_reply(body)
    assert read is not None
    assert read.error is not None
    if name != "code":
        assert read.error.code == 190
    if name != "error_subcode":
        assert read.error.error_subcode == 463


# -- over a connection -------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """Bytes to answer with; `then` goes on for ever, one piece every `every_s`."""

    raw: bytes = b""
    then: bytes = b""
    every_s: float = 0.0


class Babel:
    """Answers every request with the next thing laid out, then hangs up."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.sent_bytes = 0
        self._tasks: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> "Babel":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._tasks.values():
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        task.add_done_callback(self._tasks.pop)
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            answer, self.sent_bytes = self.answer, 0
            await self._write(writer, answer.raw)
            while answer.then:
                await self._write(writer, answer.then)
                await asyncio.sleep(answer.every_s)

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        writer.write(piece)
        await writer.drain()
        self.sent_bytes += len(piece)


@contextlib.asynccontextmanager
async def speaking(*, within_s: float = WHOLE_REPLY_TIMEOUT_S) -> AsyncIterator[tuple[Babel, Graph]]:
    async with Babel() as babel, Graph(babel.url, "v23.0", within_s=within_s) as graph:
        yield babel, graph


async def act(graph: Graph) -> Attempt:
    body = request_body("accept", "c_1", "v=0\r\n")
    return await graph.request("POST", "106378625516323", "calls", "token", body=body)


HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BOMB: Final = gzip.compress(b"[" * 50_000_000)


def whole(body: bytes, *headers: bytes, head: bytes = HEAD) -> bytes:
    return head + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


ODD_HEADERS: Final = st.sampled_from(
    [
        *(b"content-length: 5", b"content-length: 99999", b"content-length: -1", b"content-length: x"),
        *(
            b"content-length: 3\r\ncontent-length: 4",
            b"transfer-encoding: chunked",
            b"transfer-encoding: gzip, chunked",
        ),
        *(b"content-encoding: gzip", b"content-encoding: deflate", b"content-encoding: br", b"content-encoding: \xff"),
        *(
            b"content-type: text/html; charset=klingon",
            b"content-type: \x00",
            b"content-type: application/json; charset",
        ),
        *(
            b"retry-after: \xb2",
            b"retry-after: 1e9",
            b"retry-after: " + b"9" * 500,
            b"retry-after: -1",
            b"retry-after:",
        ),
        *(b"location: http://127.0.0.1:1/", b"location: \xff\x00", b"connection: close", b"x" * 9_000 + b": y"),
        *(
            b"x-app-usage: {",
            b"x-app-usage: []",
            b'x-app-usage: {"call_count": "many"}',
            b"x-app-usage: \xff" + b"[" * 9_000,
        ),
        *(
            b'x-business-use-case-usage: {"1":[{"type":7}]}',
            b'x-business-use-case-usage: {"1":{}}',
            b"x-page-usage: 1e999",
        ),
        *(b"no colon here", b": no name", b" folded", b"set-cookie: \x80=\xff", b"upgrade: h2c\r\nconnection: upgrade"),
    ]
)
ODD_HEADS: Final = st.sampled_from(
    [
        *(HEAD, HEAD, b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 429 Slow\r\n", b"HTTP/1.0 200\r\n", b"HTTP/2 200\r\n"),
        *(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HEAD, b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 204 None\r\n"),
        *(
            b"HTTP/1.1 99999 x\r\n",
            b"HTTP/1.1 abc\r\n",
            b"SSH-2.0-OpenSSH_9\r\n",
            b"\x16\x03\x01\x02\x00",
            b"",
            b"\r\n",
        ),
    ]
)
RAW: Final = st.one_of(
    st.builds(lambda head, headers, body: whole(body, *headers, head=head), ODD_HEADS, st.lists(ODD_HEADERS), BODY),
    BODY.map(lambda body: whole(body, b"content-length: %d" % len(body))),
    BODY.map(lambda body: whole(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), b"transfer-encoding: chunked")),
    BODY.map(lambda body: whole(body, b"content-length: %d" % len(body))).flatmap(damaged),
    st.binary(max_size=60),
)


def test_any_bytes_on_the_connection_give_an_attempt_with_a_verdict() -> None:
    with asyncio.Runner() as runner:
        context = speaking()
        babel, graph = runner.run(context.__aenter__())

        async def ask(raw: bytes) -> None:
            babel.answer = Answer(raw)
            async with asyncio.timeout(WHOLE_REPLY_TIMEOUT_S + 1):
                attempt = await act(graph)
            assert judge("accept", attempt) in Verdict
            assert attempt.sent is not Sent.NEVER, "something answered"

        @given(RAW)
        @example(whole(b"{}", b"retry-after: \xb2", head=b"HTTP/1.1 429 x\r\n"))
        @example(whole(DEEP[1]))
        @example(whole(BOMB, b"content-encoding: gzip", b"content-length: %d" % len(BOMB)))
        @examples(150)
        def any_answer(raw: bytes) -> None:
            runner.run(ask(raw))

        try:
            any_answer()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def test_a_reply_without_an_end_is_cut_off_at_its_limit() -> None:
    async with speaking() as (babel, graph):
        babel.answer = Answer(whole(b""), then=b"x" * 65_536)
        async with asyncio.timeout(WHOLE_REPLY_TIMEOUT_S + 1):
            attempt = await act(graph)
        assert attempt.sent is Sent.REPLIED
        assert attempt.reply is None
        assert is_ambiguous("accept", attempt)
        assert babel.sent_bytes < MAX_REPLY_BYTES + 16 * 1024 * 1024, "what the sockets hold is not read"


async def test_a_compressed_reply_is_not_asked_for_and_never_unpacked() -> None:
    async with speaking() as (babel, graph):
        babel.answer = Answer(whole(BOMB, b"content-encoding: gzip", b"content-length: %d" % len(BOMB)))
        attempt = await act(graph)
        assert (attempt.sent, attempt.status, attempt.reply) == (Sent.REPLIED, 200, None)


async def test_a_reply_that_trickles_is_given_up_in_time() -> None:
    async with speaking(within_s=0.4) as (babel, graph):
        babel.answer = Answer(whole(b"["), then=b" ", every_s=0.05)
        async with asyncio.timeout(5):
            attempt = await act(graph)
        assert attempt.sent is Sent.MAYBE
        assert babel.sent_bytes > len(babel.answer.raw), "it did answer, and went on"
