"""Whether a STUN or TURN server can be reached from here: one Binding request, and the address it saw (RFC 8489)."""

import asyncio
import contextlib
import socket
import ssl
from typing import Final

from aioice.stun import Class, Message, Method, parse_message

from shared.ice_servers import IceServer

WITHIN_S: Final = 4.0
AGAIN_AFTER_S: Final = 0.5
"""A datagram may get lost; RFC 8489 section 6.2.1 begins with this pause."""

_HEADER_BYTES: Final = 20
_MAPPED: Final = ("XOR-MAPPED-ADDRESS", "MAPPED-ADDRESS")


class Unreached(Exception):
    """The server did not answer; the message says what happened."""


async def seen_by(server: IceServer, local_address: str = "") -> str:
    """Return the address and port that the server sees us at, from this local address or from any.

    Raises:
        Unreached: it does not answer, or with nothing readable.
    """
    request = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
    try:
        async with asyncio.timeout(WITHIN_S):
            ask = _ask_by_datagram if server.transport == "udp" else _ask_by_stream
            reply = parse_message(await ask(server, bytes(request), local_address))
    except TimeoutError as error:
        raise Unreached(f"no answer within {WITHIN_S:g} s") from error
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:  # ssl.SSLError is an OSError
        raise Unreached(str(error) or repr(error)) from error
    seen = next((reply.attributes[name] for name in _MAPPED if name in reply.attributes), None)
    if seen is None or reply.transaction_id != request.transaction_id:
        raise Unreached("it answered with something else than a STUN address")
    return f"{seen[0]}:{seen[1]}"


class _Mailbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done():
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _ask_by_datagram(server: IceServer, request: bytes, local_address: str) -> bytes:
    loop = asyncio.get_running_loop()
    family = (socket.AF_INET6 if ":" in local_address else socket.AF_INET) if local_address else 0
    transport, mailbox = await loop.create_datagram_endpoint(
        _Mailbox,
        remote_addr=(server.host, server.port),
        local_addr=(local_address, 0) if local_address else None,
        family=family,
    )
    try:
        while True:
            transport.sendto(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_AFTER_S):
                    return await asyncio.shield(mailbox.reply)
    finally:
        transport.close()


async def _ask_by_stream(server: IceServer, request: bytes, local_address: str) -> bytes:
    tls = ssl.create_default_context() if server.tls else None
    local = (local_address, 0) if local_address else None
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=tls, local_addr=local)
    try:
        writer.write(request)
        head = await reader.readexactly(_HEADER_BYTES)
        return head + await reader.readexactly(int.from_bytes(head[2:4], "big"))
    finally:
        writer.close()
