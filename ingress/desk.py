"""`/desk`: the page where agents take calls, their login, and the connection over which the page hears what happens."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ingress.browser import Pages, form_of, is_own
from ingress.desk_hub import Hub
from ingress.desk_seat import AGAIN_LATER, SESSION_OVER, SeatHeld
from ingress.keys import address_of
from shared import log
from shared.bus import Bus
from shared.desk.accounts import TRIES, TRIES_OF_ADDRESS, Accounts, is_password
from shared.errors import RedisAway
from shared.settings import Settings
from shared.tries import Tries

COOKIE: Final = "pageline_desk"
FOLDER: Final = Path(__file__).with_name("desk_page")
WRONG: Final = "The name or the password is wrong."
TOO_OFTEN: Final = "Too many tries. Wait five minutes, then try again."
NOBODY: Final = "There is no agent yet. On the server, `pageline agents add NAME` makes one and prints its password."
AWAY: Final = "Redis does not answer. Try again in a moment."
FOREIGN: Final = "This form was not sent by the desk's own page."

_log = log.get()


class Desk:
    """The routes of the desk."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._accounts = Accounts(bus.wire)
        self.hub = Hub(bus, settings)
        self._tries = Tries(bus.wire, "desk")
        self._pages = Pages(FOLDER, "/desk", cookie=COOKIE, permissions="microphone=(self)")
        self._hashing = asyncio.Semaphore(2)
        """Every check of a password takes 16 MiB and some of a processor's time."""

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/desk", self.page, methods=["GET"]),
            Route("/desk/login", self.log_in, methods=["POST"]),
            Route("/desk/login", self._pages.to_front, methods=["GET"]),
            Route("/desk/logout", self.log_out, methods=["POST"]),
            Route("/desk/{name}", self._pages.file, methods=["GET"]),
            WebSocketRoute("/desk/ws", self.connect),
        ]

    async def page(self, request: Request) -> Response:
        """Show the desk, or the login where nobody is logged in."""
        try:
            account = await self._accounts.of_session(self._pages.token_of(request))
            if account is not None:
                return self._pages.page("index.html")
            return self._pages.page("login.html", "" if await self._accounts.any() else NOBODY)
        except RedisAway:
            return self._pages.page("login.html", AWAY, status=503)

    async def log_in(self, request: Request) -> Response:
        """Begin a session: 303 to the desk, or the login again, 401, or 429 after too many tries."""
        if not is_own(request):
            return PlainTextResponse(FOREIGN, status_code=403)
        form = await form_of(request)
        name, password = form.get("name", ""), form.get("password", "")
        who = {f"name {name[:64]}": TRIES, f"from {address_of(request)}": TRIES_OF_ADDRESS}
        try:
            if await self._tries.too_many(who):
                return self._pages.page("login.html", TOO_OFTEN, status=429)
            account = await self._accounts.get(name[:64])
            async with self._hashing:
                right = await asyncio.to_thread(is_password, account, password)
            if account is None or not right:
                _log.warning("desk.login_refused")
                known = account is not None or await self._accounts.any()
                return self._pages.page("login.html", WRONG if known else NOBODY, status=401)
            await self._tries.forget(who)
            token = await self._accounts.open_session(account)
        except RedisAway:
            return self._pages.page("login.html", AWAY, status=503)
        _log.info("desk.login", agent=account.name)
        return self._pages.log_in(request, token)

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        if not is_own(request):
            return PlainTextResponse(FOREIGN, status_code=403)
        with contextlib.suppress(RedisAway):
            await self._accounts.close_session(self._pages.token_of(request))
        return self._pages.log_out()

    async def connect(self, socket: WebSocket) -> None:
        """Serve an agent's page until it goes."""
        if not is_own(socket, required=True):
            await socket.close(code=1008)
            return
        await socket.accept()
        token = self._pages.token_of(socket)
        try:
            account = await self._accounts.of_session(token)
        except RedisAway:
            await socket.close(code=AGAIN_LATER)
            return
        if account is None:
            await socket.close(code=SESSION_OVER)
            return
        await SeatHeld(socket, account, self.hub, lambda: self._accounts.of_session(token)).serve()
