"""`/v1/calls`: place a call, look at it, end it."""

import asyncio
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingress import body
from ingress.keys import Endpoint, Keys, refusal
from shared.api_keys import Scope
from shared.bus import Bus
from shared.calls import facts
from shared.calls.summary import summary
from shared.errors import BadSetting, RedisAway
from shared.line import RING_S, WEEK_S
from shared.outbound import KeyReused, Outbound, ours_of
from shared.settings import Settings
from shared.tries import Tries
from shared.unreadable import UNREADABLE

LONGEST_KEY: Final = 255
LARGEST_BODY_BYTES: Final = 16 * 1024
MOST_LISTED: Final = 1_000


class NewCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/calls`."""

    page: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    to: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """The consumer's id for that Page (PSID)."""
    handler: str = ""
    ask_permission: bool = False
    within_s: Annotated[float, msgspec.Meta(gt=0, le=WEEK_S)] | None = None
    ring_s: Annotated[float, msgspec.Meta(ge=1, le=300)] = RING_S


_decode = msgspec.json.Decoder(NewCall).decode


class CallsApi:
    """The endpoints; every one needs a key, whose scope covers it."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._outbound = Outbound(bus)
        self._settings = settings
        self._keys = Keys(settings.api_keys, Tries(bus.wire, "keys"))

    def routes(self) -> list[Route]:
        """Return the routes."""
        guard = self._guard
        return [
            Route("/v1/calls", guard(self.place, Scope.CALL), methods=["POST"]),
            Route("/v1/calls", guard(self.latest, Scope.READ), methods=["GET"]),
            Route("/v1/calls/{call_id}", guard(self.show, Scope.READ), methods=["GET"]),
            Route("/v1/calls/{call_id}/hangup", guard(self.hang_up, Scope.CALL), methods=["POST"]),
        ]

    async def place(self, request: Request) -> Response:
        """Take a call to be placed: 202 once it is kept, the same call again for the same `Idempotency-Key`."""
        key = request.headers.get("idempotency-key", "")
        if len(key) > LONGEST_KEY or not key.isprintable():
            return refusal(400, f"Idempotency-Key: at most {LONGEST_KEY} printable characters.")
        try:
            wanted = _decode(await body.read(request, LARGEST_BODY_BYTES))
        except body.TooLarge:
            return refusal(
                413, f"The body is larger than {LARGEST_BODY_BYTES} bytes; a call to place is a few hundred."
            )
        except UNREADABLE as error:
            return refusal(400, f"The body is not a call to place: {error}")
        if trouble := self._refused(wanted):
            return refusal(400, trouble)
        placed = self._outbound.wanted(
            wanted.page,
            wanted.to,
            handler=wanted.handler,
            ask_permission=wanted.ask_permission,
            within_s=wanted.within_s,
            ring_s=wanted.ring_s,
        )
        try:
            call_id = await self._outbound.place(placed, key=key)
        except KeyReused as reused:
            return refusal(422, str(reused))
        return JSONResponse({"call_id": call_id}, status_code=202, headers={"location": f"/v1/calls/{call_id}"})

    def _refused(self, wanted: NewCall) -> str:
        """Return why the settings have no room for such a call, or ""; PAGES_FILE as it is now."""
        try:
            pages = self._settings.read_pages()
            if pages and wanted.page not in pages:
                return f"Page {wanted.page} has no access token here. Add it to PAGE_TOKENS or PAGES_FILE."
            if wanted.handler and not self._settings.may_run(wanted.handler):
                return f"{wanted.handler} is in no module that is configured. Add it to CALL_HANDLERS."
        except BadSetting as error:
            return str(error)
        return ""

    async def latest(self, request: Request) -> Response:
        """List the latest calls, the newest first."""
        limit = request.query_params.get("limit", "20")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 0 < int(limit) <= MOST_LISTED):
            return refusal(400, f"limit: a number from 1 to {MOST_LISTED}.")
        ids = await self._bus.recent_calls(limit=int(limit))
        logs = await asyncio.gather(*(self._bus.read_log(call_id) for call_id in ids))
        calls = [summary(call_id, [entry.fact for entry in log]) for call_id, log in zip(ids, logs, strict=True) if log]
        return JSONResponse({"calls": calls})

    async def show(self, request: Request) -> Response:
        """Show one call."""
        call_id = await ours_of(self._bus, request.path_params["call_id"])
        log = [entry.fact for entry in await self._bus.read_log(call_id)]
        return JSONResponse(summary(call_id, log)) if log else _unknown(call_id)

    async def hang_up(self, request: Request) -> Response:
        """Have a call ended; one that has ended already is as good."""
        call_id = await ours_of(self._bus, request.path_params["call_id"])
        if not await self._bus.read_log(call_id):
            return _unknown(call_id)
        await self._bus.route(call_id, facts.HangUpAsked(by="api"))
        return JSONResponse({"call_id": call_id}, status_code=202)

    def _guard(self, endpoint: Endpoint, scope: Scope) -> Endpoint:
        async def reachable(request: Request) -> Response:
            try:
                return await endpoint(request)
            except RedisAway:
                message = "Redis did not confirm. Send again, with the same Idempotency-Key."
                return refusal(503, message, headers={"retry-after": "1"})

        return self._keys.guard(reachable, scope)


def _unknown(call_id: str) -> Response:
    return refusal(404, f"There is no call {call_id} in the log; logs are kept for RETENTION_HOURS.")
