"""`/desk`: the page where agents take calls, their login, and the connection over which the page hears what happens."""

import asyncio
import contextlib
import html
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ingress import body
from ingress.desk_hub import Hub
from ingress.desk_seat import AGAIN_LATER, SESSION_OVER, SeatHeld
from shared import log
from shared.bus import Bus
from shared.desk.accounts import SESSION_S, TRIES, TRIES_OF_ADDRESS, Accounts, is_password
from shared.errors import RedisAway
from shared.settings import Settings

COOKIE: Final = "pageline_desk"
LARGEST_FORM_BYTES: Final = 4096
PAGES: Final = Path(__file__).with_name("desk_page")
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "permissions-policy": "microphone=(self)",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
WRONG: Final = "The name or the password is wrong."
TOO_OFTEN: Final = "Too many tries. Wait five minutes, then try again."
NOBODY: Final = "There is no agent yet. On the server, `pageline agents add NAME` makes one and prints its password."
AWAY: Final = "Redis does not answer. Try again in a moment."

_MESSAGE: Final = "<!-- message -->"
_log = log.get()


class Desk:
    """The routes of the desk."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self._accounts = Accounts(bus.wire)
        self.hub = Hub(bus, settings)
        self._files = {each.name: each for each in PAGES.iterdir() if each.suffix in TYPES}
        self._hashing = asyncio.Semaphore(2)
        """Every check of a password takes 16 MiB and some of a processor's time."""

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/desk", self.page, methods=["GET"]),
            Route("/desk/login", self.log_in, methods=["POST"]),
            Route("/desk/login", self.to_page, methods=["GET"]),
            Route("/desk/logout", self.log_out, methods=["POST"]),
            Route("/desk/{name}", self.file, methods=["GET"]),
            WebSocketRoute("/desk/ws", self.connect),
        ]

    async def page(self, request: Request) -> Response:
        """Show the desk, or the login where nobody is logged in."""
        try:
            account = await self._accounts.of_session(request.cookies.get(COOKIE, ""))
            if account is not None:
                return _page("index.html")
            return _page("login.html", "" if await self._accounts.any() else NOBODY)
        except RedisAway:
            return _page("login.html", AWAY, status=503)

    async def to_page(self, request: Request) -> Response:
        """Lead there who comes back to where a login was refused."""
        return RedirectResponse("/desk", status_code=303, headers=HEADERS)

    async def file(self, request: Request) -> Response:
        """Send a file of the page."""
        path = self._files.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("There is no such file.", status_code=404)
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=HEADERS)

    async def log_in(self, request: Request) -> Response:
        """Begin a session: 303 to the desk, or the login again, 401, or 429 after too many tries."""
        if not _is_own(request):
            return PlainTextResponse("This form was not sent by the desk's own page.", status_code=403)
        form = await _form(request)
        name, password = form.get("name", ""), form.get("password", "")
        who = {f"name {name[:64]}": TRIES, f"from {request.client.host if request.client else ''}": TRIES_OF_ADDRESS}
        try:
            if await self._accounts.too_many_tries(who):
                return _page("login.html", TOO_OFTEN, status=429)
            account = await self._accounts.get(name[:64])
            async with self._hashing:
                right = await asyncio.to_thread(is_password, account, password)
            if account is None or not right:
                _log.warning("desk.login_refused")
                known = account is not None or await self._accounts.any()
                return _page("login.html", WRONG if known else NOBODY, status=401)
            await self._accounts.forget_tries(who)
            token = await self._accounts.open_session(account)
        except RedisAway:
            return _page("login.html", AWAY, status=503)
        _log.info("desk.login", agent=account.name)
        reply = RedirectResponse("/desk", status_code=303, headers=HEADERS)
        secure = _scheme(request) == "https"
        reply.set_cookie(
            COOKIE, token, max_age=SESSION_S, path="/desk", secure=secure, httponly=True, samesite="strict"
        )
        return reply

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        if not _is_own(request):
            return PlainTextResponse("This form was not sent by the desk's own page.", status_code=403)
        with contextlib.suppress(RedisAway):
            await self._accounts.close_session(request.cookies.get(COOKIE, ""))
        reply = RedirectResponse("/desk", status_code=303, headers=HEADERS)
        reply.delete_cookie(COOKIE, path="/desk", httponly=True, samesite="strict")
        return reply

    async def connect(self, socket: WebSocket) -> None:
        """Serve an agent's page until it goes."""
        if not _is_own(socket, required=True):
            await socket.close(code=1008)
            return
        await socket.accept()
        token = socket.cookies.get(COOKIE, "")
        try:
            account = await self._accounts.of_session(token)
        except RedisAway:
            await socket.close(code=AGAIN_LATER)
            return
        if account is None:
            await socket.close(code=SESSION_OVER)
            return
        await SeatHeld(socket, account, self.hub, lambda: self._accounts.of_session(token)).serve()


def _page(name: str, message: str = "", *, status: int = 200) -> Response:
    shown = f'<p class="alert" role="alert">{html.escape(message)}</p>' if message else ""
    text = (PAGES / name).read_text(encoding="utf-8").replace(_MESSAGE, shown)
    return HTMLResponse(text, status_code=status, headers=HEADERS)


def _is_own(connection: HTTPConnection, *, required: bool = False) -> bool:
    """Tell whether it comes from a page of ours: browsers say where a form or a WebSocket comes from."""
    origin = connection.headers.get("origin")
    if origin is None:
        return not required
    ours = connection.headers.get("host"), connection.headers.get("x-forwarded-host")  # browsers let no page set either
    return urlsplit(origin).netloc in ours


def _scheme(connection: HTTPConnection) -> str:
    return connection.headers.get("x-forwarded-proto", connection.url.scheme).split(",")[0].strip()


async def _form(request: Request) -> dict[str, str]:
    try:
        form = await body.read(request, LARGEST_FORM_BYTES)
    except body.TooLarge:
        return {}
    fields = parse_qs(form.decode(errors="replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
