"""Meta and the consumers whom the business calls, as the reference describes them.

Whom a Page may call, it is told in any of three shapes; a request for leave is answered late or never. A `connect`
rings at once, however often it comes. The media may connect while it rings, or only after the consumer has picked up:
nobody documents which.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.simulation.meta import CONNECTS_WITHIN_S, SILENT_FOR_S, Event, Meta, MetaCall, Refused, unix

RINGS_FOR_S: Final = 100.0
"""How long an unanswered call of ours rings, if we let it: UNKNOWN, and longer than we do."""

Answer = tuple[int, bytes]


@dataclass
class Callee:
    """A consumer, and what he will do; times are virtual seconds, infinite for never."""

    psid: str
    page: str
    leave: bool
    may_ask: bool
    answer: Literal["approve", "reject", ""]
    answers_after_s: float
    picks_up_after_s: float
    declines_after_s: float
    talks_for_s: float
    asked: int = 0
    rung: int = 0


class Callees(Meta):
    """See `Meta`; calls both ways."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.callees: dict[str, Callee] = {}
        self._by_offer: dict[str, MetaCall] = {}

    def expect(self, page: str) -> Callee:
        """Draw a consumer whom we are going to call."""
        chance = self._chance
        fate = chance.choice(("picks up", "picks up", "picks up", "declines", "is away", "is away"))
        callee = Callee(
            psid=f"callee{len(self.callees) + 1}",
            page=page,
            leave=chance.random() < 0.6,
            may_ask=chance.random() < 0.8,
            answer=chance.choice(("approve", "approve", "reject", "")),
            answers_after_s=chance.choice((chance.uniform(0.0, 1.0), chance.uniform(0.0, 30.0))),
            picks_up_after_s=chance.uniform(0.0, 20.0) if fate == "picks up" else float("inf"),
            declines_after_s=chance.uniform(0.0, 20.0) if fate == "declines" else float("inf"),
            talks_for_s=chance.uniform(1.0, 25.0),
        )
        self.callees[callee.psid] = callee
        return callee

    # -- what Graph is asked -----------------------------------------------------------------------------------------

    def serve(self, action: str, psid: str, offer: str) -> Answer:
        """Carry out one request about a consumer; return the HTTP status and the body."""
        callee = self.callees[psid]
        try:
            match action:
                case "check_permission":
                    return 200, json.dumps(self._leave_of(callee)).encode()
                case "optin":
                    reply = self._ask(callee)
                case _:
                    reply = self._connect(callee, offer)
        except Refused as refused:
            return 400, json.dumps({"error": refused.envelope}).encode()
        return 200, json.dumps(reply).encode()

    def _leave_of(self, callee: Callee) -> Event:
        status = "has_permission" if callee.leave else "no_permission"
        shape = self._chance.choice(("can_perform", "can_perform_action", "data"))
        flag = "can_perform" if shape == "data" else shape
        told: Event = {
            "permission": {"status": status.upper() if shape == "data" else status},
            "actions": [
                {"action_name": "send_call_permission_request", flag: callee.may_ask},
                {"action_name": "start_call", flag: callee.leave},
            ],
        }
        return {"data": [told]} if shape == "data" else told

    def _ask(self, callee: Callee) -> Event:
        if not callee.may_ask:
            raise Refused("(#613) Calls to this api have exceeded the rate limit.", 613, 1893016)
        callee.asked += 1
        if callee.answer:
            self._loop.call_later(
                callee.answers_after_s, self._answer, callee, callee.answer, context=self._loop.outside.context
            )
        return {"recipient_id": callee.psid, "message_id": f"m_{callee.psid}"}

    def _answer(self, callee: Callee, answer: str) -> None:
        callee.leave = answer == "approve"
        self._send_webhook(
            {
                "event": "call_permission_reply",
                "id": callee.psid,
                "sender": {"id": callee.psid},
                "recipient": {"id": callee.page},
                "timestamp": unix(self._loop.time()),
                "call_permission_reply": {"response": answer},
            },
            callee.page,
        )

    def _connect(self, callee: Callee, offer: str) -> Event:
        if not callee.leave:
            raise Refused("The consumer has not given permission to call.", 100)
        callee.rung += 1
        number = len(self.calls) + 1
        call = MetaCall(f"c_{number}", callee.page, callee.psid, self._loop.time(), callee.talks_for_s, offer=offer)
        call.placed, call.early = True, self._chance.random() < 0.5
        self.calls[call.id] = self._by_offer[offer] = call
        self._trace.note(f"{call.id} rings at {callee.psid}", who="meta")
        if self._chance.random() < 0.5:
            self._tell(
                call, event="connect", to=callee.psid, call_direction="business_initiated", **{"from": callee.page}
            )
        self._tell(call, event="call_status", call_status="ringing", recipient_id=callee.psid)
        for after_s, do in (
            (callee.picks_up_after_s, self._pick_up),
            (callee.declines_after_s, self._give_up),
            (RINGS_FOR_S, self._ring_out),
        ):
            if after_s <= RINGS_FOR_S:
                self._later(after_s, do, call)
        session = {"sdp_response": {"sdp_type": "answer", "sdp": f"answer to {offer}"}}
        return {"success": True, self._chance.choice(("id", "call_id")): call.id, "session": session}

    # -- what the consumer does, and his media -----------------------------------------------------------------------

    def _ring_out(self, call: MetaCall) -> None:
        if call.state == "ringing":
            self._end(call, "meta: nobody picked up", "Completed")

    def _pick_up(self, call: MetaCall) -> None:
        if call.state != "ringing":
            return
        call.state, call.accepted_s = "accepted", self._loop.time()
        self._trace.note(f"{call.id} is picked up", who="consumer")
        self._later(CONNECTS_WITHIN_S, self._must_have_connected, call)
        self._tell(call, event="call_status", call_status="accepted", recipient_id=call.psid)
        call.version = 1
        offer = {"sdp_type": "offer", "sdp": f"renegotiation 1 of {call.id}"}
        self._tell(call, event="media_update", session={"version": 1, "sdp_renegotiation": offer})
        self._both(call)

    def connects(self, offer: str) -> MetaCall | None:
        """See `Meta.connects`; a call of ours may connect before it is picked up."""
        call = self._by_offer.get(offer)
        if call is None:
            return super().connects(offer)
        if call.over or (call.state == "ringing" and not call.early):
            return None
        call.media = True
        self._both(call)
        return call

    def rings(self, offer: str) -> bool:
        """Tell whether it will connect later, if at all."""
        call = self._by_offer.get(offer)
        return call is not None and call.state == "ringing"

    def _both(self, call: MetaCall) -> None:
        if call.state == "accepted" and call.media:
            call.state, call.connected_s = "connected", self._loop.time()
            call.heard_s = max(call.heard_s or 0.0, self._loop.time())
            self._later(call.talks_for_s, self._hang_up, call)
            self._later(SILENT_FOR_S, self._listen, call)
