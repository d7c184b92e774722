"""The one edge of Twilio's REST API that bots use on their own call: look at it, and end it (voice/api/call-resource).

`/2010-04-01/Accounts/{account}/Calls/{call}.json`, with the account's SID and auth token as user and password. Errors
have Twilio's shape and codes.
"""

import base64
import binascii
import hmac
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingress import body
from shared.bus import Bus
from shared.calls import facts
from shared.calls.summary import summary
from shared.errors import RedisAway
from shared.outbound import ours_of
from shared.settings import Settings

PATH: Final = "/2010-04-01/Accounts/{account}/Calls/{call_id}.json"
LARGEST_BODY_BYTES: Final = 16 * 1024
ENDED: Final = {"completed", "canceled"}
"""What a call's `Status` can be set to that ends it."""


class TwilioApi:
    """The edge; closed where no account is configured."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._account, self._token = settings.stream_account_sid, settings.stream_auth_token

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(PATH, self.call, methods=["GET", "POST"])]

    async def call(self, request: Request) -> Response:
        """Show a call; end it where its `Status` is set to `completed`."""
        if not self._knows(request.headers.get("authorization", "")):
            return _refusal(401, 20003, "Authenticate")
        if request.path_params["account"] != self._account:
            return _refusal(404, 20404, "The requested resource was not found")
        try:
            return await self._answered(request)
        except RedisAway:
            return _refusal(503, 20503, "Service unavailable", headers={"retry-after": "1"})

    async def _answered(self, request: Request) -> Response:
        asked = ""
        if request.method == "POST":
            try:
                form = await body.read(request, LARGEST_BODY_BYTES)
            except body.TooLarge:
                return _refusal(413, 20413, "Request entity too large")
            asked = parse_qs(form.decode(errors="replace")).get("Status", [""])[0].lower()
            if asked not in ENDED:
                return _refusal(400, 20001, "Only Status=completed is understood")
        call_id = await ours_of(self._bus, request.path_params["call_id"])
        log = [entry.fact for entry in await self._bus.read_log(call_id)]
        if not log:
            return _refusal(404, 20404, "The requested resource was not found")
        if asked:
            await self._bus.route(call_id, facts.HangUpAsked(by="api"))
        over = asked or summary(call_id, log)["phase"] == "ended"
        status = "completed" if over else "in-progress"
        return JSONResponse({"sid": request.path_params["call_id"], "account_sid": self._account, "status": status})

    def _knows(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        try:
            said = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            said = b""
        known = hmac.compare_digest(said, f"{self._account}:{self._token}".encode())
        return known and scheme.lower() == "basic" and bool(self._account and self._token)


def _refusal(status: int, code: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    said = {"code": code, "message": message, "more_info": "docs/http.md", "status": status}
    asks = {"www-authenticate": 'Basic realm="pageline"'} if status == 401 else {}
    return JSONResponse(said, status_code=status, headers={**asks, **(headers or {})})
