"""Whether a STUN or TURN server can be reached: over UDP in `test_page_commands`, and here over TCP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aioice.stun import Class, Message, Method, parse_message

from shared.ice_servers import IceServer
from workers.media.reach import Unreached, seen_by

Answer = Callable[[bytes], bytes]


def mapped(request: bytes) -> bytes:
    reply = Message(Method.BINDING, Class.RESPONSE, transaction_id=parse_message(request).transaction_id)
    reply.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.7", 4321)
    return bytes(reply)


def anothers(_request: bytes) -> bytes:
    return mapped(bytes(Message(Method.BINDING, Class.REQUEST)))


@pytest.fixture
async def listening() -> AsyncIterator[Callable[[Answer], Awaitable[IceServer]]]:
    servers: list[asyncio.Server] = []

    async def listen(answer: Answer) -> IceServer:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(await reader.readexactly(20)))
            writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        return IceServer("turn", "127.0.0.1", servers[-1].sockets[0].getsockname()[1], "tcp")

    yield listen
    for server in servers:
        server.close()


async def test_a_server_that_answers_over_tcp_says_how_it_sees_us(
    listening: Callable[[Answer], Awaitable[IceServer]],
) -> None:
    assert await seen_by(await listening(mapped), "127.0.0.1") == "203.0.113.7:4321"


@pytest.mark.parametrize(
    "answer",
    [anothers, lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", lambda _: b"", lambda _: b"\x01\x01\x00\x00" * 5],
)
async def test_what_is_no_answer_of_a_stun_server_s_is_told(
    listening: Callable[[Answer], Awaitable[IceServer]], answer: Answer
) -> None:
    with pytest.raises(Unreached, match=r".+"):
        await seen_by(await listening(answer))
