"""The edge `calls`: accept, reject, terminate, connect, media_update (reference, sections 4 to 6)."""

from typing import Annotated, Any, Literal

import msgspec

from simulator.call_settings import Pages
from simulator.calls import Call, Refused
from simulator.graph.asked import Asked, Body
from simulator.media import Media
from simulator.outbound import Outbound
from simulator.settings import AnswerShape, Settings
from simulator.switchboard import Switchboard
from simulator.updates import Tracks, Updates


class Session(Body):
    """The `session` of a request."""

    sdp_type: str
    sdp: str


class Track(Body):
    """One of the `tracks` of a `media_update`."""

    msid: str
    label: Literal["default_audio", "default_video", "screen_audio", "screen_video"]
    status: Literal["enabled", "disabled"]


class Action(Body):
    """The body of `POST /{page}/calls` (section 4.2)."""

    action: str
    platform: str = "messenger"
    call_id: str | None = None
    to: str | None = None
    session: Session | None = None
    tracks: Annotated[list[Track], msgspec.Meta(max_length=4)] | None = None
    from_version: int | str | None = None
    to_version: int | str | None = None


class CallsEdge:
    """Does the actions."""

    def __init__(
        self, settings: Settings, switchboard: Switchboard, outbound: Outbound, updates: Updates, pages: Pages
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._switchboard = switchboard
        self._outbound = outbound
        self._updates = updates

    async def post(self, asked: Asked) -> dict[str, Any]:
        """Does one action; raises `Refused`."""
        page, action = asked.page, asked.body(Action)
        check_calling(self._pages, page)
        match action:
            case Action(platform=platform) if platform != "messenger":
                raise Refused(100, "Invalid parameter: platform must be messenger")
            case Action(action="accept"):
                call = self._switchboard.find(page, action.call_id)
                return granted(call.answer_shape, call.id, await self._switchboard.accept(call, _offer(action)))
            case Action(action="connect", to=str(psid)):
                call = await self._outbound.connect(page, psid, _offer(action))
                return self._placed(call)
            case Action(action="connect"):
                raise Refused(100, "Invalid parameter: to must be the PSID of the person to call")
            case Action(action="reject"):
                self._switchboard.reject(self._switchboard.find(page, action.call_id))
            case Action(action="terminate"):
                self._switchboard.terminate(self._switchboard.find(page, action.call_id))
            case Action(action="media_update"):
                return await self._update(self._switchboard.find(page, action.call_id), action)
            case _:
                raise Refused(
                    100, "Invalid parameter: action must be one of accept, connect, media_update, reject, terminate"
                )
        return {"success": True}

    def _placed(self, call: Call) -> dict[str, Any]:
        """Builds the answer to `connect` (section 5.4)."""
        assert call.media is not None  # noqa: S101 - what Graph answers, the device has answered before
        session = self._session(call.media, renegotiation=self._settings.connect_renegotiation)
        return {"success": True, self._settings.connect_id_field: call.id, "session": session}

    async def _update(self, call: Call, action: Action) -> dict[str, Any]:
        """Builds the answer to `media_update` (sections 6.2 and 6.3)."""
        if not action.tracks:
            raise Refused(100, "Invalid parameter: tracks must name at least one track")
        states: Tracks = {track.msid: {"label": track.label, "status": track.status} for track in action.tracks}
        if action.session is None:
            self._updates.switch_tracks(call, states)
            return {"success": True}
        versions = _version(action.from_version, "from_version"), _version(action.to_version, "to_version")
        media = await self._updates.renegotiate(call, _offer(action), states, *versions)
        if media is None:
            return {"success": True, "session": {}}
        session = self._session(media, renegotiation=self._settings.update_renegotiation)
        if self._settings.update_renegotiation and self._settings.renegotiation_counts:
            call.media_version += 1
        return {"success": True, "session": session}

    def _session(self, media: Media, *, renegotiation: bool) -> dict[str, Any]:
        session = {"sdp_response": self._described("answer", media.answer())}
        if renegotiation:
            session["sdp_renegotiation"] = self._described("offer", media.offer())
        return session

    def _described(self, sdp_type: str, text: str) -> str | dict[str, str]:
        return text if self._settings.connect_shape == "string" else {"sdp_type": sdp_type, "sdp": text}


def check_calling(pages: Pages, page: str) -> None:
    """Raises `Refused` where the Page has no calling, or has it switched off (sections 7.1, 10.3 and 10.4)."""
    if not pages.is_enabled:
        raise Refused(2018389, "Page Not Allowlisted")
    if not pages.may_call(page):
        raise Refused(100, "Call Settings Not Enabled", 1893056)


def granted(shape: AnswerShape, call_id: str, media: Media) -> dict[str, Any]:
    """Builds the answer to `accept` in one of the documented shapes (section 4.3)."""
    answer = media.answer()
    if shape == "strings":
        return {"success": True, "session": {"sdp_response": answer, "sdp_renegotiation": media.offer()}}
    session = {"sdp_response": {"sdp_type": "answer", "sdp": answer}}
    if shape == "answer-only":
        return {"success": True, "session": session}
    session["sdp_renegotiation"] = {"sdp_type": "offer", "sdp": media.offer()}
    return {"success": True, "call_id": call_id, "session": session}


def _version(given: int | str | None, name: str) -> int:
    """Reads a version, which the guide writes as a string and the reference as a number."""
    if given is None or not str(given).isdecimal():
        raise Refused(100, f"Invalid parameter: {name} must be a version, like 0")
    return int(given)


def _offer(action: Action) -> str:
    if action.session is None or not action.session.sdp:
        raise Refused(2018391, "Invalid connection parameter")
    if action.session.sdp_type != "offer":
        raise Refused(2018392, "Invalid SDP parameter: sdp_type must be offer")
    return action.session.sdp
