"""The simulator as one web application: Graph for the business, `/sim` for tests, a page for people."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from simulator import sound
from simulator.browser import BrowserPhone, Report
from simulator.calls import Call, Refused, Switchboard, view
from simulator.faults import Fault, Faults
from simulator.graph import Graph, envelope
from simulator.hooks import Postman
from simulator.phone import Phone
from simulator.settings import AnswerShape, Settings
from simulator.wire import json_response

HERE = Path(__file__).parent
# eval is what Playwright waits with; all other sources are the simulator itself
PAGE_POLICY = "default-src 'self' 'unsafe-eval'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'"
CREATED, NO_CONTENT, BAD_REQUEST, NOT_FOUND, CONFLICT = 201, 204, 400, 404, 409

T = TypeVar("T")


class NewCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/calls`; what is left out comes from the settings, or is not done."""

    page: str | None = None
    psid: str | None = None
    tone_hz: float | None = None
    sound: str | None = None
    loop: bool = True
    hang_up_after_s: float | None = None
    """Counted from when the business can be heard."""
    give_up_after_s: float | None = None
    """Counted from the first ring."""
    answer_shape: AnswerShape | None = None


class PageCall(msgspec.Struct):
    """The body of `POST /sim/browser/calls`."""

    page: str | None = None
    psid: str | None = None


class PageAnswer(msgspec.Struct):
    """The body of `POST /sim/browser/calls/{id}/answer`."""

    sdp: str


class Simulator:
    """Holds the parts and serves their routes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.postman = Postman(settings)
        self.switchboard = Switchboard(settings, self.postman)
        self.faults = Faults()
        self.graph = Graph(settings, self.switchboard, self.faults)

    def routes(self) -> list[Route]:
        """Returns every route; whatever else is asked for gets Graph's 404."""
        return [
            Route("/", self.page_file),
            Route("/page.css", self.page_file),
            Route("/page.js", self.page_file),
            Route("/sim/about", self.about, methods=["GET"]),
            Route("/sim/calls", self.list_calls, methods=["GET"]),
            Route("/sim/calls", self.start_call, methods=["POST"]),
            Route("/sim/calls/{call_id}", self.show_call, methods=["GET"]),
            Route("/sim/calls/{call_id}/wait", self.wait, methods=["GET"]),
            Route("/sim/calls/{call_id}/hangup", self.hang_up, methods=["POST"]),
            Route("/sim/calls/{call_id}/media-update", self.update_media, methods=["POST"]),
            Route("/sim/calls/{call_id}/recording.wav", self.recording, methods=["GET"]),
            Route("/sim/browser/calls", self.start_page_call, methods=["POST"]),
            Route("/sim/browser/calls/{call_id}/events", self.page_events, methods=["GET"]),
            Route("/sim/browser/calls/{call_id}/answer", self.page_answer, methods=["POST"]),
            Route("/sim/browser/calls/{call_id}/report", self.page_report, methods=["POST"]),
            Route("/sim/graph", self.list_graph, methods=["GET"]),
            Route("/sim/webhooks", self.list_webhooks, methods=["GET"]),
            Route("/sim/faults", self.list_faults, methods=["GET"]),
            Route("/sim/faults", self.plan_fault, methods=["POST"]),
            Route("/sim/faults", self.clear_faults, methods=["DELETE"]),
            Route("/{version}/{page}/calls", self.graph.post_calls, methods=["POST"]),
        ]

    async def close(self) -> None:
        """Hangs up every call and ends every stream; a second time does nothing."""
        await self.switchboard.close()
        await self.postman.close()

    async def page_file(self, request: Request) -> Response:
        """Serves the page and what it is made of."""
        name = request.url.path.removeprefix("/") or "page.html"
        return FileResponse(HERE / name, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"})

    async def about(self, request: Request) -> Response:
        """Tells which Page is called, and by whom."""
        return json_response({"page": self.settings.page, "psid": self.settings.psid})

    async def start_call(self, request: Request) -> Response:
        """Lets a phone ring the business."""
        new = await _decode(request, NewCall)
        source = new.tone_hz if new.tone_hz is not None else Path(new.sound or sound.CALLER_WAV)
        try:
            playlist = await asyncio.to_thread(sound.playlist, source, loop=new.loop)
        except (OSError, ValueError, LookupError) as error:  # missing, not a sound, without an audio stream
            raise HTTPException(BAD_REQUEST, f"The sound file cannot be played: {error}") from error
        phone = Phone(
            playlist,
            media_addresses=self.settings.media_addresses,
            media_timeout_s=self.settings.media_timeout_s,
            recording_limit_s=self.settings.recording_limit_s,
        )
        call = self.switchboard.ring(
            phone,
            page=new.page,
            psid=new.psid,
            answer_shape=new.answer_shape,
            hang_up_after_s=new.hang_up_after_s,
            give_up_after_s=new.give_up_after_s,
        )
        return json_response({"call_id": call.id}, CREATED)

    async def list_calls(self, request: Request) -> Response:
        """Lists every call, oldest first."""
        return json_response([await view(call) for call in self.switchboard.calls.values()])

    async def show_call(self, request: Request) -> Response:
        """Shows one call."""
        return json_response(await view(self._call(request)))

    async def wait(self, request: Request) -> Response:
        """Waits at most `timeout_s` until a call has ended, or is connected with `state=connected`; shows it."""
        call = self._call(request)
        event = call.talking if request.query_params.get("state") == "connected" else call.over
        try:
            async with asyncio.timeout(float(request.query_params.get("timeout_s", "30"))):
                await event.wait()
        except TimeoutError:
            pass  # the state in the answer says so
        return json_response(await view(call))

    async def hang_up(self, request: Request) -> Response:
        """Lets the caller hang up, ringing or connected."""
        call = self._call(request)
        self.switchboard.end(call, by="caller")
        return json_response(await view(call))

    async def update_media(self, request: Request) -> Response:
        """Sends a media_update webhook, as a mute does."""
        try:
            self.switchboard.update_media(self._call(request))
        except Refused as refused:
            raise HTTPException(CONFLICT, refused.message) from refused
        return Response(status_code=NO_CONTENT)

    async def recording(self, request: Request) -> Response:
        """Returns what the phone heard."""
        recording = self._call(request).consumer.recording()
        if recording is None:
            raise HTTPException(NOT_FOUND, "Nothing was recorded in this call")
        return Response(recording, media_type="audio/wav")

    async def start_page_call(self, request: Request) -> Response:
        """Lets the page that asks ring the business."""
        new = await _decode(request, PageCall)
        phone = BrowserPhone(self.settings.browser_answer_timeout_s)
        call = self.switchboard.ring(phone, page=new.page, psid=new.psid)
        return json_response({"call_id": call.id}, CREATED)

    async def page_events(self, request: Request) -> Response:
        """Streams to the page what happens in its call."""
        phone, after = self._browser(request), int(request.headers.get("last-event-id", "0"))

        async def lines() -> AsyncIterator[bytes]:
            async for number, event in phone.events(after):
                yield b"id: %d\ndata: %b\n\n" % (number, msgspec.json.encode(event))

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def page_answer(self, request: Request) -> Response:
        """Takes the page's SDP answer."""
        self._browser(request).answered((await _decode(request, PageAnswer)).sdp)
        return Response(status_code=NO_CONTENT)

    async def page_report(self, request: Request) -> Response:
        """Takes what the page saw and heard."""
        self._browser(request).report(await _decode(request, Report))
        return Response(status_code=NO_CONTENT)

    async def list_graph(self, request: Request) -> Response:
        """Lists every request Graph got."""
        return json_response(self.graph.requests)

    async def list_webhooks(self, request: Request) -> Response:
        """Lists every webhook and its attempts."""
        return json_response([asdict(delivery) for delivery in self.postman.deliveries])

    async def list_faults(self, request: Request) -> Response:
        """Lists the faults still planned."""
        return json_response(self.faults.planned)

    async def plan_fault(self, request: Request) -> Response:
        """Plans a fault."""
        fault = await _decode(request, Fault)
        self.faults.planned.append(fault)
        return json_response(fault, CREATED)

    async def clear_faults(self, request: Request) -> Response:
        """Forgets every planned fault."""
        self.faults.planned.clear()
        return Response(status_code=NO_CONTENT)

    def _call(self, request: Request) -> Call:
        call = self.switchboard.calls.get(request.path_params["call_id"])
        if call is None:
            raise HTTPException(NOT_FOUND, "There is no such call here")
        return call

    def _browser(self, request: Request) -> BrowserPhone:
        consumer = self._call(request).consumer
        if not isinstance(consumer, BrowserPhone):
            raise HTTPException(CONFLICT, "This call is not made from a browser")
        return consumer


def create_app(settings: Settings) -> Starlette:
    """Makes the application; `app.state.simulator` holds its parts."""
    simulator = Simulator(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await simulator.close()

    app = Starlette(routes=simulator.routes(), lifespan=lifespan, exception_handlers={HTTPException: _say_why})
    app.state.simulator = simulator
    return app


async def _say_why(request: Request, error: Exception) -> Response:
    """Answers an error: in words below /sim, in Graph's envelope everywhere else."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    if request.url.path.startswith("/sim/"):
        return json_response({"error": error.detail}, error.status_code)
    return json_response(envelope(2500, "Unknown path components"), error.status_code)


async def _decode(request: Request, type_: type[T]) -> T:
    """Decodes a JSON body; an empty one stands for all defaults."""
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=type_)
    except msgspec.DecodeError as error:
        raise HTTPException(BAD_REQUEST, str(error)) from error
