"""HTTP of the simulator: JSON responses, and a server whose connections can be cut without an answer."""

import asyncio
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def json_response(value: Any, status: int = 200) -> Response:
    """Returns a value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


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
