"""Meta and the consumers, as the reference describes them; shares no thought with the product.

A call rings for 60 s at the most; one accept is answered, once; whoever ends a call first has ended it, and everybody
is told by webhook. A consumer gives up, hangs up, or is cut off by Meta after hearing nothing for too long.
"""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import START_UNIX_S, VirtualLoop

RINGS_FOR_S: Final = 60.0
CONNECTS_WITHIN_S: Final = 30.0
SILENT_FOR_S: Final = 30.0
"""Meta ends calls of which it hears nothing for that long."""

Event = dict[str, Any]


@dataclass
class MetaCall:
    """One call as Meta sees it; times are virtual seconds."""

    id: str
    page: str
    psid: str
    began_s: float
    talks_for_s: float
    state: Literal["ringing", "accepted", "connected", "ended"] = "ringing"
    offer: str = ""
    accepted_s: float | None = None
    connected_s: float | None = None
    heard_s: float | None = None
    farewell_s: float | None = None
    """When our first `reject` or `terminate` reached Graph."""
    ended_s: float | None = None
    ended_by: str = ""
    version: int = 0
    on_gone: list[Callable[[], None]] = field(default_factory=list)
    """Told when the consumer's device closes the media connection."""

    @property
    def over(self) -> bool:
        """Whether somebody has ended it."""
        return self.state == "ended"

    def silent_since_s(self) -> float | None:
        """Return since when an accepted call has carried nothing to the consumer."""
        return None if self.accepted_s is None else max(self.accepted_s, self.heard_s or 0.0)


class Refused(Exception):
    """Graph's error, as (code, subcode, message)."""

    def __init__(self, message: str, code: int, subcode: int | None = None) -> None:
        super().__init__(message)
        self.envelope = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
        if subcode is not None:
            self.envelope["error_subcode"] = subcode


class Meta:
    """All calls there are."""

    def __init__(
        self, loop: VirtualLoop, chance: random.Random, trace: Trace, send_webhook: Callable[[Event, str], None]
    ) -> None:
        self.calls: dict[str, MetaCall] = {}
        self._loop = loop
        self._chance = chance
        self._trace = trace
        self._send_webhook = send_webhook
        self.on_end: Callable[[MetaCall], None] = lambda call: None

    # -- what consumers do -------------------------------------------------------------------------------------------

    def ring(self, page: str, *, patience_s: float, talks_for_s: float) -> MetaCall:
        """Let a consumer call the Page."""
        number = len(self.calls) + 1
        call = MetaCall(f"c_{number}", page, f"psid{number}", self._loop.time(), talks_for_s)
        self.calls[call.id] = call
        self._trace.note(f"{call.id} rings at Page {page}", who="consumer")
        self._tell(call, event="connect", to=page, call_direction="user_initiated", **{"from": call.psid})
        self._later(min(patience_s, RINGS_FOR_S), self._give_up, call)
        return call

    def change_media(self, call: MetaCall) -> None:
        """Send new offers, as when a consumer mutes; their webhooks may arrive in any order."""
        for _ in range(self._chance.randint(1, 3)):
            call.version += 1
            offer = {"sdp_type": "offer", "sdp": f"renegotiation {call.version} of {call.id}"}
            self._tell(call, event="media_update", session={"version": call.version, "sdp_renegotiation": offer})

    def _give_up(self, call: MetaCall) -> None:
        if call.state == "ringing":
            self._end(call, "consumer", "Completed")

    def _hang_up(self, call: MetaCall) -> None:
        if not call.over:
            self._end(call, "consumer", "Completed")

    def _must_have_connected(self, call: MetaCall) -> None:
        if call.state == "accepted":
            self._end(call, "meta: no media", "Failed")

    def _listen(self, call: MetaCall) -> None:
        if call.state != "connected" or call.heard_s is None:
            return
        left_s = call.heard_s + SILENT_FOR_S - self._loop.time()
        if left_s <= 0:
            self._end(call, "meta: silence", "Failed")
        else:
            self._later(left_s, self._listen, call)

    # -- media -------------------------------------------------------------------------------------------------------

    def connects(self, offer: str) -> MetaCall | None:
        """Let the leg that made this offer connect, if the consumer's device waits for it."""
        for call in self.calls.values():
            if call.offer == offer and call.state == "accepted":
                call.state = "connected"
                call.connected_s = call.heard_s = self._loop.time()
                self._later(call.talks_for_s, self._hang_up, call)
                self._later(SILENT_FOR_S, self._listen, call)
                if self._chance.random() < 0.3:
                    self._later(self._chance.uniform(0.0, 3.0), self.change_media, call)
                return call
        return None

    # -- what Graph is asked -----------------------------------------------------------------------------------------

    def act(self, action: str, call_id: str, offer: str | None, version: int | None = None) -> tuple[int, bytes]:
        """Carry out one request; return the HTTP status and the body."""
        call = self.calls.get(call_id)
        try:
            if call is None:
                raise Refused("Invalid call id", *self._either(2018390))
            match action:
                case "accept":
                    reply = self._accept(call, offer or "")
                case "media_update":
                    reply = self._change(call, offer, version)
                case _:
                    reply = self._farewell(call, action)
        except Refused as refused:
            return 400, json.dumps({"error": refused.envelope}).encode()
        return 200, json.dumps(reply).encode()

    def _accept(self, call: MetaCall, offer: str) -> Event:
        if call.over:
            raise Refused("Cannot join ended call", *self._either(2018396))
        if call.state != "ringing":
            raise Refused("Call already accepted", 100)
        call.state, call.offer, call.accepted_s = "accepted", offer, self._loop.time()
        self._later(CONNECTS_WITHIN_S, self._must_have_connected, call)
        if self._chance.random() < 0.1:
            self._later(self._chance.uniform(0.0, 0.5), self._hang_up, call)
        session = {"sdp_response": {"sdp_type": "answer", "sdp": f"answer to {offer}"}}
        if self._chance.random() < 0.8:
            session["sdp_renegotiation"] = {"sdp_type": "offer", "sdp": f"renegotiation of {call.id}"}
        return {"success": True, "session": session}

    def _change(self, call: MetaCall, offer: str | None, version: int | None) -> Event:
        if call.over:
            raise Refused("Cannot join ended call", *self._either(2018396))
        if offer is None:
            return {"success": True}
        if version != call.version:
            return {"success": True, "session": {}}
        call.version += 1
        return {"success": True, "session": {"sdp_response": {"sdp_type": "answer", "sdp": f"answer to {offer}"}}}

    def _farewell(self, call: MetaCall, action: str) -> Event:
        if call.farewell_s is None:
            call.farewell_s = self._loop.time()
        if call.over:
            if self._chance.random() < 0.5:
                raise Refused(f"Call already {'rejected' if action == 'reject' else 'terminated'}", 100)
            raise Refused("Cannot join ended call", *self._either(2018396))
        if action == "reject" and call.state != "ringing":
            raise Refused("Call already accepted", 100)
        self._end(call, "business", "Completed")
        return {"success": True}

    def _either(self, code: int) -> tuple[int, int | None]:
        """Put a calling code where one page or another has it."""
        return (code, None) if self._chance.random() < 0.5 else (100, code)

    # -- endings -----------------------------------------------------------------------------------------------------

    def _end(self, call: MetaCall, by: str, status: str) -> None:
        now_s = self._loop.time()
        talked = {} if call.connected_s is None else {"duration": int(now_s - call.connected_s) + 1}
        call.state, call.ended_s, call.ended_by = "ended", now_s, by
        self._trace.note(f"{call.id} ended by {by}", who="meta")
        self.on_end(call)
        times = {"start_time": _unix(call.began_s), "end_time": _unix(now_s)}
        self._tell(call, event="terminate", status=status, **times, **talked)
        for gone in call.on_gone:
            gone()

    def _tell(self, call: MetaCall, **event: Any) -> None:
        self._send_webhook({"id": call.id, "timestamp": _unix(self._loop.time())} | event, call.page)

    def _later(self, after_s: float, do: Callable[[MetaCall], None], call: MetaCall) -> asyncio.TimerHandle:
        return self._loop.call_later(after_s, do, call, context=self._loop.outside.context)


def _unix(at_s: float) -> int:
    return int(START_UNIX_S + at_s)
