"""Who may use `/v1`: holders of a key of PAGELINE_API_KEYS, told apart in constant time."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Endpoint = Callable[[Request], Awaitable[Response]]

_NONE: Final = "PAGELINE_API_KEYS is not set: this route is closed. Set it to one or more secrets, separated by commas."
_WRONG: Final = "Authorization: Bearer <key> is missing, or its key is none of PAGELINE_API_KEYS."


class Keys:
    """The keys; `guard` closes an endpoint to everybody else."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint behind the keys: 403 where there are none, 401 without one of them."""

        async def guarded(request: Request) -> Response:
            if not self._keys:
                return refusal(403, _NONE)
            if not self._knows(request.headers.get("authorization", "")):
                return refusal(401, _WRONG, headers={"www-authenticate": "Bearer"})
            return await endpoint(request)

        return guarded

    def _knows(self, header: str) -> bool:
        scheme, _, key = header.partition(" ")
        given = key.strip().encode()
        known = False
        for each in self._keys:
            known |= hmac.compare_digest(each, given)
        return known and scheme.lower() == "bearer"


def refusal(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    """Return an error as `/v1` says it."""
    return JSONResponse({"error": {"message": message}}, status_code=status, headers=headers)
