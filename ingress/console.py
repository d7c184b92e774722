"""`/console`: what whoever runs the line sees of it, and the little that can be done there.

It folds the logs, by way of the index, and keeps nothing of its own (docs/decisions/0016-the-console.md).
"""

import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ingress.browser import Pages, form_of, is_own
from ingress.console_calls import Calls
from ingress.console_doorman import Doorman
from ingress.console_hub import Hub
from ingress.console_recordings import Recordings
from ingress.keys import NONE, Endpoint, address_of, refusal
from shared import log, retrial
from shared.api_keys import Scope
from shared.bus import Bus
from shared.calls import facts
from shared.errors import RedisAway
from shared.outbound import ours_of
from shared.settings import Settings
from shared.tries import Tries

FOLDER: Final = Path(__file__).with_name("console_page")
TRIES_OF_ADDRESS: Final = 20
"""Within `shared.tries.TRIES_S`; the address may be that of a proxy, and then of everybody."""
MOST_LETTERS: Final = 50
PAGE_OF_CALLS: Final = re.compile(r"/console/calls(/[\w-]{1,200})?", re.ASCII)
LETTER: Final = re.compile(r"\d{1,15}-\d{1,9}")
WRONG: Final = "This is no key of PAGELINE_API_KEYS."
TOO_OFTEN: Final = "Too many tries. Wait five minutes, then try again."
AWAY: Final = "Redis does not answer. Try again in a moment."
FOREIGN: Final = "This was not sent by the console's own page."

_log = log.get()


class Console:
    """The routes of the console."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._bus = bus
        self._doorman = Doorman(bus.wire, settings.api_keys)
        self._tries = Tries(bus.wire, "console")
        self._pages = Pages(FOLDER, "/console", cookie="pageline_console", permissions="microphone=()")
        self._recordings = Recordings(settings)
        self._calls = Calls(bus, self._recordings)
        self._answer_window_ms = int(settings.accept_deadline_seconds * 1000)
        self.hub = Hub(bus)

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        page, only = self._page, self._only
        return [
            Route("/", self._pages.to_front, methods=["GET"]),
            Route("/console", page("index.html"), methods=["GET"]),
            Route("/console/calls", page("index.html"), methods=["GET"]),
            Route("/console/calls/{call_id}", page("index.html"), methods=["GET"]),
            Route("/console/login", self.log_in, methods=["POST"]),
            Route("/console/login", self._pages.to_front, methods=["GET"]),
            Route("/console/logout", self.log_out, methods=["POST"]),
            Route("/console/events", only(self.events, Scope.READ), methods=["GET"]),
            Route("/console/data/me", only(self.me, Scope.READ), methods=["GET"]),
            Route("/console/data/calls", only(self.calls, Scope.READ), methods=["GET"]),
            Route("/console/data/calls/{call_id}", only(self.call, Scope.READ), methods=["GET"]),
            Route("/console/data/calls/{call_id}/recordings/{number:int}", only(self.sound, Scope.READ)),
            Route("/console/data/find", only(self.find, Scope.READ), methods=["POST"]),
            Route("/console/data/dead", only(self.letters, Scope.READ), methods=["GET"]),
            Route("/console/calls/{call_id}/hangup", only(self.hang_up, Scope.CALL), methods=["POST"]),
            Route("/console/dead/{letter_id}/{what}", only(self.letter, Scope.ADMIN), methods=["POST"]),
            Route("/console/{name}", self._pages.file, methods=["GET"]),
        ]

    # -- the way in ---------------------------------------------------------------------------------------------

    async def log_in(self, request: Request) -> Response:
        """Begin a session: 303 to the overview, or the login again, 401, or 429 after too many tries."""
        if not is_own(request, required=True):
            return PlainTextResponse(FOREIGN, status_code=403)
        if not self._doorman.any:
            return self._pages.page("login.html", NONE, status=403)
        key = (await form_of(request)).get("key", "").strip()
        who = {f"from {address_of(request)}": TRIES_OF_ADDRESS}
        try:
            if await self._tries.too_many(who):
                return self._pages.page("login.html", TOO_OFTEN, status=429)
            token = await self._doorman.let_in(key)
            if token is None:
                _log.warning("console.login_refused", address=address_of(request))
                return self._pages.page("login.html", WRONG, status=401)
            await self._tries.forget(who)
        except RedisAway:
            return self._pages.page("login.html", AWAY, status=503)
        _log.info("console.login", address=address_of(request))
        asked_for = urlsplit(request.headers.get("referer", "")).path  # the login was shown in its place
        return self._pages.log_in(request, token, to=asked_for if PAGE_OF_CALLS.fullmatch(asked_for) else "")

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        if not is_own(request, required=True):
            return PlainTextResponse(FOREIGN, status_code=403)
        with contextlib.suppress(RedisAway):
            await self._doorman.let_out(self._pages.token_of(request))
        return self._pages.log_out()

    def _page(self, name: str) -> Endpoint:
        """Return an endpoint that shows a page, or the login where nobody is logged in."""

        async def page(request: Request) -> Response:
            try:
                scope = await self._doorman.scope_of(self._pages.token_of(request))
            except RedisAway:
                return self._pages.page("login.html", AWAY, status=503)
            if scope is None:
                return self._pages.page("login.html", "" if self._doorman.any else NONE)
            return self._pages.page(name)

        return page

    def _only(self, endpoint: Callable[[Request, Scope], Awaitable[Response]], wanted: Scope) -> Endpoint:
        """Return the endpoint behind the session: 401 without one, 403 where its key opens less than is wanted.

        What changes something comes from a page of ours, or is refused.
        """

        async def guarded(request: Request) -> Response:
            if request.method == "POST" and not is_own(request, required=True):
                return refusal(403, FOREIGN)
            try:
                scope = await self._doorman.scope_of(self._pages.token_of(request))
                if scope is None:
                    return refusal(401, "You are not logged in, or no longer.")
                if scope < wanted:
                    return refusal(403, f"Your key has the scope `{scope.word}`; this wants `{wanted.word}`.")
                return await endpoint(request, scope)
            except RedisAway:
                return refusal(503, AWAY, headers={"retry-after": "1"})

        return guarded

    # -- what is shown ------------------------------------------------------------------------------------------

    async def me(self, request: Request, scope: Scope) -> Response:
        """Tell what whoever is logged in may do."""
        return self._json({"scope": scope.word})

    async def events(self, request: Request, scope: Scope) -> Response:
        """Tell what there is to see, and whatever changes of it."""

        async def may_stay() -> bool:
            with contextlib.suppress(RedisAway):
                return await self._doorman.scope_of(self._pages.token_of(request)) is not None
            return True

        headers = {**self._pages.headers, "cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self.hub.follow(may_stay), media_type="text/event-stream", headers=headers)

    async def calls(self, request: Request, scope: Scope) -> Response:
        """List calls, the newest first."""
        before = request.query_params.get("before", "")
        known = before.isascii() and before.isdigit() and len(before) < 16
        return self._json(await self._calls.page(int(before) if known else None))

    async def find(self, request: Request, scope: Scope) -> Response:
        """Look for calls; by a form, because addresses are logged by who stands in between, and PSIDs are not to be."""
        return self._json(await self._calls.find((await form_of(request)).get("q", "").strip()))

    async def call(self, request: Request, scope: Scope) -> Response:
        """Tell the story of one call."""
        call_id = request.path_params["call_id"]
        told = await self._calls.story(call_id, whole_ids=scope >= Scope.ADMIN)
        return self._json(told) if told else _unknown(call_id)

    async def sound(self, request: Request, scope: Scope) -> Response:
        """Send a recording, or the part of it that is asked for (Range)."""
        call_id = await ours_of(self._bus, request.path_params["call_id"])
        found = self._recordings.find(await self._bus.read_log(call_id), request.path_params["number"])
        if found is None:
            return refusal(404, "This process cannot read that recording.")
        file, media_type = found
        headers = {**self._pages.headers, "cache-control": "private, no-cache"}
        return FileResponse(file, media_type=media_type, headers=headers)

    async def letters(self, request: Request, scope: Scope) -> Response:
        """List the last dead letters; what they hold is for `pageline dead show`."""
        kept = await self._bus.dead_letters.newest(limit=MOST_LETTERS)
        return self._json(
            {"letters": [{**retrial.summary(each), "retriable": retrial.is_retriable(each)} for each in kept]}
        )

    # -- what can be done ---------------------------------------------------------------------------------------

    async def hang_up(self, request: Request, scope: Scope) -> Response:
        """Have a call ended."""
        call_id = await ours_of(self._bus, request.path_params["call_id"])
        if not await self._bus.read_log(call_id):
            return _unknown(call_id)
        await self._bus.route(call_id, facts.HangUpAsked(by="operator"))
        _log.info("console.hung_up", call=call_id)
        self.hub.look_now()
        return self._json({"message": "The call is being ended."}, status=202)

    async def letter(self, request: Request, scope: Scope) -> Response:
        """Try a dead letter again, or drop it."""
        letter_id, what = request.path_params["letter_id"], request.path_params["what"]
        if what not in {"retry", "drop"}:
            return refusal(404, "A dead letter is retried or dropped.")
        letter = await self._bus.dead_letters.find(letter_id) if LETTER.fullmatch(letter_id) else None
        if letter is None:
            return refusal(404, "There is no such dead letter (any more).")
        try:
            if what == "drop":
                done = await retrial.drop(self._bus, letter)
            else:
                done = await retrial.retry(self._bus, letter, answer_window_ms=self._answer_window_ms)
        except retrial.NotRetriable as error:
            return refusal(409, str(error))
        _log.info("console.letter", letter=letter_id, what=what)
        self.hub.look_now()
        return self._json({"message": done})

    def _json(self, told: object, *, status: int = 200) -> Response:
        return JSONResponse(told, status_code=status, headers={**self._pages.headers, "cache-control": "no-store"})


def _unknown(call_id: str) -> Response:
    return refusal(404, f"There is no call {call_id} in the log; logs are kept for RETENTION_HOURS.")
