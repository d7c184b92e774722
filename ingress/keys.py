"""Who may use `/v1`: holders of a key of PAGELINE_API_KEYS whose scope covers it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from shared import api_keys, log
from shared.api_keys import ApiKey, Scope
from shared.errors import RedisAway
from shared.tries import TRIES_S, Tries

Endpoint = Callable[[Request], Awaitable[Response]]

WRONG_KEYS: Final = 20
"""From one address within `TRIES_S`; it may be that of a proxy, and then of everybody."""

NONE: Final = "PAGELINE_API_KEYS is not set: this route is closed. Set it to what `pageline keys new` prints."
_WRONG: Final = "Authorization: Bearer <key> is missing, or its key is none of PAGELINE_API_KEYS."
_TOO_OFTEN: Final = "Too many wrong keys came from this address. Wait five minutes."
_log = log.get()


class Keys:
    """The keys; `guard` closes an endpoint to everybody else."""

    def __init__(self, keys: Sequence[ApiKey], tries: Tries) -> None:
        self._keys = keys
        self._tries = tries

    def guard(self, endpoint: Endpoint, scope: Scope) -> Endpoint:
        """Return the endpoint behind the keys: 403 where there are none or the key's scope is too low, 401 without one.

        Who keeps guessing is told 429. A right key gets in all the same: anybody behind the same proxy could shut out
        those who hold one, and 256 bits are not guessed faster than that.
        """

        async def guarded(request: Request) -> Response:
            if not self._keys:
                return refusal(403, NONE)
            given = _bearer(request)
            key = api_keys.find(self._keys, given)
            if key is None:
                if given and await self._too_many(request):
                    return refusal(429, _TOO_OFTEN, headers={"retry-after": str(TRIES_S)})
                return refusal(401, _WRONG, headers={"www-authenticate": "Bearer"})
            if key.scope < scope:
                return refusal(403, f"This key has the scope `{key.scope.word}`; this wants `{scope.word}`.")
            return await endpoint(request)

        return guarded

    async def _too_many(self, request: Request) -> bool:
        try:
            too_many = await self._tries.too_many({f"from {address_of(request)}": WRONG_KEYS})
        except RedisAway:
            return False
        if too_many:
            _log.warning("keys.guessed", address=address_of(request))
        return too_many


def address_of(connection: HTTPConnection) -> str:
    """Return who is at the other end of the connection, which may be a proxy."""
    return connection.client.host if connection.client else ""


def refusal(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    """Return an error as `/v1` says it."""
    return JSONResponse({"error": {"message": message}}, status_code=status, headers=headers)


def _bearer(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
