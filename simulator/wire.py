"""HTTP of the simulator: JSON both ways, and a server whose connections can be cut without an answer."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CREATED: Final = 201
NO_CONTENT: Final = 204
BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
CONFLICT: Final = 409

T = TypeVar("T")


async def decode(request: Request, type_: type[T]) -> T:
    """Decodes a JSON body; an empty one stands for all defaults."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=type_)
    except msgspec.DecodeError as error:
        raise HTTPException(BAD_REQUEST, str(error)) from error


def call_in(request: Request, calls: Mapping[str, T]) -> T:
    """Returns the call that a path names, or answers 404."""
    call = calls.get(request.path_params["call_id"])
    if call is None:
        raise HTTPException(NOT_FOUND, "There is no such call here")
    return call


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a value as JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


class CuttableHttp(HttpToolsProtocol):
    """Hands each connection's transport to the application, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Notes the transport in what becomes `request.state`."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def cut_the_line(request: Request) -> Response:
    """Resets the connection; the response returned goes nowhere."""
    cast("asyncio.Transport", request.state.transport).abort()
    return Response(status_code=500)
