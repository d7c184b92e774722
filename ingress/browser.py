"""What the pages for browsers have in common: their files and headers, where a form comes from, and its fields."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from ingress import body
from shared.sessions import SESSION_S

LARGEST_FORM_BYTES: Final = 4096
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
LOOK: Final = Path(__file__).with_name("look")
"""What all pages share: colours, buttons, the login, ways with elements."""
_MESSAGE: Final = "<!-- message -->"


class Pages:
    """The pages and files of one folder, and the cookie of whoever is logged in there.

    Args:
        folder: HTML, CSS, ES modules and pictures.
        path: where they are on the web; the cookie is sent there only.
        cookie: its name.
        permissions: the value of Permissions-Policy.
    """

    def __init__(self, folder: Path, path: str, *, cookie: str, permissions: str) -> None:
        self._folder = folder
        self._path = path
        self._cookie = cookie
        self.headers: Mapping[str, str] = {**HEADERS, "permissions-policy": permissions}
        self._files = {each.name: each for each in (*LOOK.iterdir(), *folder.iterdir()) if each.suffix in TYPES}

    def page(self, name: str, message: str = "", *, status: int = 200) -> Response:
        """Return a page, with a message where it has room for one."""
        shown = f'<p class="alert" role="alert">{html.escape(message)}</p>' if message else ""
        text = (self._folder / name).read_text(encoding="utf-8").replace(_MESSAGE, shown)
        return HTMLResponse(text, status_code=status, headers=self.headers)

    async def file(self, request: Request) -> Response:
        """Send a file of the folder, or one that all share; say to a person that there is none."""
        path = self._files.get(request.path_params["name"])
        if path is None and "text/html" in request.headers.get("accept", ""):
            text = (LOOK / "missing.html").read_text(encoding="utf-8").replace("/front", self._path)
            return HTMLResponse(text, status_code=404, headers=self.headers)
        if path is None:
            return PlainTextResponse("There is no such file.", status_code=404)
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=self.headers)

    async def to_front(self, request: Request) -> Response:
        """Lead to the front page."""
        return RedirectResponse(self._path, status_code=303, headers=self.headers)

    def token_of(self, connection: HTTPConnection) -> str:
        """Return the session's token, or "" where there is none."""
        return connection.cookies.get(self._cookie, "")

    def log_in(self, request: Request, token: str, *, to: str = "") -> Response:
        """Lead to a page, by default the front, with a cookie that no script reads and no other site sends."""
        reply = RedirectResponse(to or self._path, status_code=303, headers=self.headers)
        secure = _scheme(request) == "https"
        reply.set_cookie(
            self._cookie, token, max_age=SESSION_S, path=self._path, secure=secure, httponly=True, samesite="strict"
        )
        return reply

    def log_out(self) -> Response:
        """Lead to the front page without the cookie."""
        reply = RedirectResponse(self._path, status_code=303, headers=self.headers)
        reply.delete_cookie(self._cookie, path=self._path, httponly=True, samesite="strict")
        return reply


def is_own(connection: HTTPConnection, *, required: bool = False) -> bool:
    """Tell whether it comes from a page of ours: browsers say where a form or a WebSocket comes from."""
    origin = connection.headers.get("origin")
    if origin is None:
        return not required
    ours = connection.headers.get("host"), connection.headers.get("x-forwarded-host")  # browsers let no page set either
    return urlsplit(origin).netloc in ours


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; none where it is larger than any of ours."""
    try:
        form = await body.read(request, LARGEST_FORM_BYTES)
    except body.TooLarge:
        return {}
    fields = parse_qs(form.decode(errors="replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def _scheme(connection: HTTPConnection) -> str:
    return connection.headers.get("x-forwarded-proto", connection.url.scheme).split(",")[0].strip()
