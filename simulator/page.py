"""The page a person calls from: its files, and the routes through which its phone hears of the call."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from simulator.browser import BrowserPhone, Report
from simulator.settings import Settings
from simulator.switchboard import Switchboard
from simulator.wire import CONFLICT, CREATED, NO_CONTENT, call_in, decode, json_response

HERE = Path(__file__).parent
# eval is what Playwright waits with; all other sources are the simulator itself
PAGE_POLICY = "default-src 'self' 'unsafe-eval'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'"


class PageCall(msgspec.Struct):
    """The body of `POST /sim/browser/calls`."""

    page: str | None = None
    psid: str | None = None


class PageAnswer(msgspec.Struct):
    """The body of `POST /sim/browser/calls/{id}/answer`."""

    sdp: str


class Page:
    """Serves the page."""

    def __init__(self, settings: Settings, switchboard: Switchboard) -> None:
        self._settings = settings
        self._switchboard = switchboard

    def routes(self) -> list[Route]:
        """Returns its routes."""
        return [
            Route("/", self.file),
            Route("/page.css", self.file),
            Route("/page.js", self.file),
            Route("/sim/browser/calls", self.start_call, methods=["POST"]),
            Route("/sim/browser/calls/{call_id}/events", self.events, methods=["GET"]),
            Route("/sim/browser/calls/{call_id}/answer", self.answer, methods=["POST"]),
            Route("/sim/browser/calls/{call_id}/report", self.report, methods=["POST"]),
        ]

    async def file(self, request: Request) -> Response:
        """Serves the page and what it is made of."""
        name = request.url.path.removeprefix("/") or "page.html"
        return FileResponse(HERE / name, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"})

    async def start_call(self, request: Request) -> Response:
        """Lets the page that asks ring the business."""
        new = await decode(request, PageCall)
        phone = BrowserPhone(self._settings.browser_answer_timeout_s)
        call = self._switchboard.ring(phone, page=new.page, psid=new.psid)
        return json_response({"call_id": call.id}, CREATED)

    async def events(self, request: Request) -> Response:
        """Streams to the page what happens in its call."""
        phone, after = self._phone(request), int(request.headers.get("last-event-id", "0"))

        async def lines() -> AsyncIterator[bytes]:
            async for number, event in phone.events(after):
                yield b"id: %d\ndata: %b\n\n" % (number, msgspec.json.encode(event))

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def answer(self, request: Request) -> Response:
        """Takes the page's SDP answer."""
        self._phone(request).answered((await decode(request, PageAnswer)).sdp)
        return Response(status_code=NO_CONTENT)

    async def report(self, request: Request) -> Response:
        """Takes what the page saw and heard."""
        self._phone(request).report(await decode(request, Report))
        return Response(status_code=NO_CONTENT)

    def _phone(self, request: Request) -> BrowserPhone:
        consumer = call_in(request, self._switchboard.calls).consumer
        if not isinstance(consumer, BrowserPhone):
            raise HTTPException(CONFLICT, "This call is not made from a browser")
        return consumer
