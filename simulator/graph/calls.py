"""The edge `calls`: accept, reject, terminate, connect (reference, sections 4 and 5)."""

from typing import Any, Literal

from simulator import sdp
from simulator.calls import Call, Refused
from simulator.graph.asked import Asked, Body
from simulator.outbound import Outbound
from simulator.settings import AnswerShape, Settings
from simulator.switchboard import Switchboard


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
    tracks: list[Track] | None = None
    from_version: int | str | None = None
    to_version: int | str | None = None


class CallsEdge:
    """Does the actions."""

    def __init__(self, settings: Settings, switchboard: Switchboard, outbound: Outbound) -> None:
        self._settings = settings
        self._switchboard = switchboard
        self._outbound = outbound

    async def post(self, asked: Asked) -> dict[str, Any]:
        """Does one action; raises `Refused`."""
        page, action = asked.page, asked.body(Action)
        match action:
            case Action(platform=platform) if platform != "messenger":
                raise Refused(100, "Invalid parameter: platform must be messenger")
            case Action(action="accept"):
                call = self._call(page, action.call_id)
                answer, renegotiation = await self._switchboard.accept(call, _offer(action))
                return granted(call.answer_shape, call.id, answer, renegotiation)
            case Action(action="connect", to=str(psid)):
                call = await self._outbound.connect(page, psid, _offer(action))
                return self._placed(call)
            case Action(action="connect"):
                raise Refused(100, "Invalid parameter: to must be the PSID of the person to call")
            case Action(action="reject"):
                self._switchboard.reject(self._call(page, action.call_id))
            case Action(action="terminate"):
                self._switchboard.terminate(self._call(page, action.call_id))
            case Action(action="media_update"):
                raise Refused(100, "Unsupported: this simulator does not do media_update yet")
            case _:
                raise Refused(
                    100, "Invalid parameter: action must be one of accept, connect, media_update, reject, terminate"
                )
        return {"success": True}

    def _placed(self, call: Call) -> dict[str, Any]:
        """Builds the answer to `connect` (section 5.4)."""
        assert call.offer is not None  # noqa: S101 - what Graph answers, the device has answered before
        assert call.device is not None  # noqa: S101
        session: dict[str, Any] = {"sdp_response": self._described("answer", sdp.answer(call.offer, call.device))}
        if self._settings.connect_renegotiation:
            session["sdp_renegotiation"] = self._described("offer", sdp.renegotiation(call.offer, call.device))
        return {"success": True, self._settings.connect_id_field: call.id, "session": session}

    def _described(self, sdp_type: str, text: str) -> str | dict[str, str]:
        return text if self._settings.connect_shape == "string" else {"sdp_type": sdp_type, "sdp": text}

    def _call(self, page: str, call_id: str | None) -> Call:
        call = self._switchboard.calls.get(call_id or "")
        if call is None:
            raise Refused(2018390, "Invalid call id")
        if call.page != page:
            raise Refused(2018393, "Invalid call participant page")
        return call


def granted(shape: AnswerShape, call_id: str, answer: str, renegotiation: str) -> dict[str, Any]:
    """Builds the answer to `accept` in one of the documented shapes (section 4.3)."""
    if shape == "strings":
        return {"success": True, "session": {"sdp_response": answer, "sdp_renegotiation": renegotiation}}
    session = {"sdp_response": {"sdp_type": "answer", "sdp": answer}}
    if shape == "answer-only":
        return {"success": True, "session": session}
    session["sdp_renegotiation"] = {"sdp_type": "offer", "sdp": renegotiation}
    return {"success": True, "call_id": call_id, "session": session}


def _offer(action: Action) -> str:
    if action.session is None or not action.session.sdp:
        raise Refused(2018391, "Invalid connection parameter")
    if action.session.sdp_type != "offer":
        raise Refused(2018392, "Invalid SDP parameter: sdp_type must be offer")
    return action.session.sdp
