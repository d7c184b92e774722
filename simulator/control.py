"""The routes below `/sim`, with which tests make people call, and see what came of it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.calls import Call, Refused, view
from simulator.chaos import Chaos
from simulator.people import People, Person, Speech, Unplayable, playlist
from simulator.permissions import LASTS_S, Permissions
from simulator.settings import AnswerShape, Settings
from simulator.switchboard import Switchboard
from simulator.updates import Updates
from simulator.wire import BAD_REQUEST, CONFLICT, CREATED, NO_CONTENT, NOT_FOUND, call_in, decode, json_response

T = TypeVar("T")


class NewCall(Speech, kw_only=True):
    """The body of `POST /sim/calls`; what is left out comes from the settings, or is not done."""

    page: str | None = None
    psid: str | None = None
    hang_up_after_s: float | None = None
    """Counted from when the business can be heard."""
    give_up_after_s: float | None = None
    """Counted from the first ring."""
    answer_shape: AnswerShape | None = None


class Toggle(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/calls/{id}/media-update`."""

    video: bool | None = None
    muted: bool | None = None


class Press(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/calls/{id}/digits`."""

    digits: str


class NewPermission(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/permissions`."""

    page: str | None = None
    psid: str | None = None
    granted: bool
    expires_in_s: float = LASTS_S
    may_call: bool | None = None
    """What `start_call` says; left out: as the permission and the quota have it."""


class TellPerson(Person, kw_only=True):
    """The body of `POST /sim/consumers`; without a PSID it is about everybody who was not told on their own."""

    psid: str | None = None


class Control:
    """Serves the routes."""

    def __init__(
        self,
        settings: Settings,
        *,
        switchboard: Switchboard,
        updates: Updates,
        people: People,
        permissions: Permissions,
        chaos: Chaos,
    ) -> None:
        self._settings = settings
        self._switchboard = switchboard
        self._updates = updates
        self._people = people
        self._permissions = permissions
        self._chaos = chaos

    def routes(self) -> list[Route]:
        """Returns every route."""
        return [
            Route("/sim/about", self.about, methods=["GET"]),
            Route("/sim/calls", self.list_calls, methods=["GET"]),
            Route("/sim/calls", self.start_call, methods=["POST"]),
            Route("/sim/calls/{call_id}", self.show_call, methods=["GET"]),
            Route("/sim/calls/{call_id}/wait", self.wait, methods=["GET"]),
            Route("/sim/calls/{call_id}/hangup", self.hang_up, methods=["POST"]),
            Route("/sim/calls/{call_id}/media-update", self.update_media, methods=["POST"]),
            Route("/sim/calls/{call_id}/say", self.say, methods=["POST"]),
            Route("/sim/calls/{call_id}/digits", self.press_digits, methods=["POST"]),
            Route("/sim/calls/{call_id}/picture.png", self.picture, methods=["GET"]),
            Route("/sim/calls/{call_id}/recording.wav", self.recording, methods=["GET"]),
            Route("/sim/consumers", self.list_consumers, methods=["GET"]),
            Route("/sim/consumers", self.tell_consumer, methods=["POST"]),
            Route("/sim/permissions", self.list_permissions, methods=["GET"]),
            Route("/sim/permissions", self.set_permission, methods=["POST"]),
        ]

    async def about(self, request: Request) -> Response:
        """Tells which Page is called, by whom, and what chaos there was."""
        told = {"page": self._settings.page, "psid": self._settings.psid, "chaos": self._chaos.view()}
        return json_response(told)

    async def start_call(self, request: Request) -> Response:
        """Lets a phone ring the business."""
        new = await decode(request, NewCall)
        phone = await _played(self._people.phone(new))
        call = self._switchboard.ring(
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
        return json_response([await view(call) for call in self._switchboard.calls.values()])

    async def show_call(self, request: Request) -> Response:
        """Shows one call."""
        return json_response(await view(call_in(request, self._switchboard.calls)))

    async def wait(self, request: Request) -> Response:
        """Waits at most `timeout_s` until a call has ended, or is connected with `state=connected`; shows it."""
        call = call_in(request, self._switchboard.calls)
        event = call.talking if request.query_params.get("state") == "connected" else call.over
        try:
            async with asyncio.timeout(float(request.query_params.get("timeout_s", "30"))):
                await event.wait()
        except TimeoutError:
            pass  # the state in the answer says so
        return json_response(await view(call))

    async def hang_up(self, request: Request) -> Response:
        """Lets the consumer hang up, ringing or connected."""
        call = call_in(request, self._switchboard.calls)
        self._switchboard.end(call, by="consumer")
        return json_response(await view(call))

    async def update_media(self, request: Request) -> Response:
        """Switches the consumer's camera or microphone; without a body only the webhook is sent."""
        toggle = await decode(request, Toggle)
        call = call_in(request, self._switchboard.calls)
        return await _done(self._updates.from_consumer(call, video=toggle.video, muted=toggle.muted))

    async def say(self, request: Request) -> Response:
        """Lets the consumer say something else from now on."""
        speech, call = await decode(request, Speech), call_in(request, self._switchboard.calls)
        return await _done(self._say(call, speech))

    async def press_digits(self, request: Request) -> Response:
        """Presses keys on the consumer's dial pad, and answers when the last is let go."""
        press = await decode(request, Press)
        return await _done(self._updates.press(call_in(request, self._switchboard.calls), press.digits))

    async def picture(self, request: Request) -> Response:
        """Returns what the phone saw last."""
        picture = await asyncio.to_thread(call_in(request, self._switchboard.calls).consumer.picture)
        if picture is None:
            raise HTTPException(NOT_FOUND, "Nothing was seen in this call")
        return Response(picture, media_type="image/png")

    async def recording(self, request: Request) -> Response:
        """Returns what the phone heard."""
        recording = call_in(request, self._switchboard.calls).consumer.recording()
        if recording is None:
            raise HTTPException(NOT_FOUND, "Nothing was recorded in this call")
        return Response(recording, media_type="audio/wav")

    async def list_consumers(self, request: Request) -> Response:
        """Lists how people behave; `*` is everybody who was not told on their own."""
        return json_response(self._people.view())

    async def tell_consumer(self, request: Request) -> Response:
        """Sets how a person, or everybody, behaves towards the business."""
        told = await decode(request, TellPerson)
        self._people.tell(told.psid, told)
        return json_response(told, CREATED)

    async def list_permissions(self, request: Request) -> Response:
        """Lists what is known of permissions."""
        return json_response(self._permissions.view())

    async def set_permission(self, request: Request) -> Response:
        """Grants or takes back a permission, without a word to the business."""
        new = await decode(request, NewPermission)
        page, psid = new.page or self._settings.page, new.psid or self._settings.psid
        if new.granted:
            self._permissions.grant(page, psid, lasts_s=new.expires_in_s)
        else:
            self._permissions.revoke(page, psid)
        self._permissions.set_may_call(page, psid, new.may_call)
        return json_response(self._permissions.body(page, psid), CREATED)

    async def _say(self, call: Call, speech: Speech) -> None:
        self._updates.say(call, await _played(playlist(speech)))


async def _played(work: Awaitable[T]) -> T:
    try:
        return await work
    except Unplayable as error:
        raise HTTPException(BAD_REQUEST, str(error)) from error


async def _done(work: Awaitable[None]) -> Response:
    try:
        await work
    except Refused as refused:
        raise HTTPException(CONFLICT, refused.message) from refused
    return Response(status_code=NO_CONTENT)
