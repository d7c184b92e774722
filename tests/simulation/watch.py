"""Safety: what must never happen, checked on every fact that any log takes and every request that leaves for Graph."""

import math
from collections import defaultdict
from typing import Any, Final

import msgspec

from shared.bus import PREFIX
from shared.calls import facts
from tests.simulation.graph import Request
from tests.simulation.media import SimLeg
from tests.simulation.memory_redis import MemoryRedis
from tests.simulation.meta import RINGS_FOR_S, Event, Meta, MetaCall
from tests.simulation.outgoing import Outgoing, broken_by_adoption, broken_in_the_end, broken_to_a_callee
from tests.simulation.scripts import TOKENLESS
from tests.simulation.trace import Trace
from workers.action.verdict import Attempt, Sent
from workers.media.live_call import IDLE_TICKS

LOG: Final = f"{PREFIX}log:".encode()
OWED: Final = f"{PREFIX}owed"
TICK_S: Final = 0.2
"""Ten times the real one, so that a virtual minute is cheap."""
TICKS_TOO_LATE: Final = 2
SILENT_AT_MOST_S: Final = 10.0 + IDLE_TICKS * TICK_S
"""The promise's ten seconds, and the pause between two packets of somebody who has nothing to say."""
REJECTED_WITHIN_S: Final = 4.0
"""Between our answer window and Meta's, if nothing is wrong."""
STALE_SENDER_S: Final = 3.5
"""Between passing the fence and the request a takeover may happen, and news of it takes a while."""


class Story:
    """What a call's log says so far."""

    def __init__(self) -> None:
        self.facts: list[facts.Fact] = []
        self.arrived_s: float | None = None
        self.epoch = 0
        self.claimed_s = 0.0
        self.owner = ""
        self.grants = 0
        self.granted_s = 0.0
        self.closed_s: float | None = None
        self.outcome = ""


class Accepts:
    """The accepts of one call as their sender saw them."""

    def __init__(self) -> None:
        self.offers: set[str | None] = set()
        self.unsure = 0
        """Sent and not answered, or not yet."""
        self.after_unsure = 0
        self.answered: set[object] = set()
        """Who has an answer; another who is given the job again cannot know of it, and probes."""


class Watch:
    """Sees everything; see the module."""

    def __init__(self, server: MemoryRedis, trace: Trace, meta: Meta) -> None:
        self.stories: defaultdict[str, Story] = defaultdict(Story)
        self._server = server
        self._trace = trace
        self._meta = meta
        self._accepts: defaultdict[str, Accepts] = defaultdict(Accepts)
        self._outbound = Outgoing()
        self._offered: dict[str, str] = {}
        """Offers, and our calls that made them."""
        self._announced_s: defaultdict[str, list[float]] = defaultdict(list)
        self._decode = msgspec.json.Decoder(facts.CallFact).decode
        server.on_append = self._appended

    # -- logs --------------------------------------------------------------------------------------------------------

    def _appended(self, key: bytes, entry_id: tuple[int, int], fields: list[bytes]) -> None:
        if not key.startswith(LOG):
            return
        call_id = key.removeprefix(LOG).decode()
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        epoch, fact = int(named[b"e"]), self._decode(named[b"f"])
        self._trace.note(f"log {call_id} {entry_id[0]} e{epoch} {_brief(named[b'f'])}", who="redis")
        story = self.stories[call_id]
        story.facts.append(fact)
        if entry_id[0] != len(story.facts):
            self._violated(call_id, f"a log has no gaps: entry {entry_id[0]} follows {len(story.facts) - 1}")
        match fact:
            case facts.Arrived() if story.arrived_s is None:
                story.arrived_s = self._trace.time_s()
            case facts.Claimed(worker=worker):
                if epoch <= story.epoch:
                    self._violated(call_id, f"epochs rise: {epoch} after {story.epoch}")
                story.epoch, story.claimed_s, story.owner = epoch, self._trace.time_s(), worker
            case facts.ActionGranted():
                story.grants += 1
                story.granted_s = self._trace.time_s()
                if story.grants > 1:
                    self._violated(call_id, "at most one accept or connect is granted")
            case facts.OfferMade(sdp=offer):
                self._offered[offer] = call_id
            case facts.Closed(outcome=outcome):
                if story.closed_s is not None:
                    self._violated(call_id, f"a call is closed once: {story.outcome}, then {outcome}")
                story.closed_s, story.outcome = self._trace.time_s(), outcome
        if epoch not in (0, story.epoch):
            self._violated(call_id, f"a fact of epoch {epoch} does not follow the claim of epoch {story.epoch}")

    # -- webhooks ----------------------------------------------------------------------------------------------------

    def posted(self, event: Event) -> None:
        """See a webhook leave for us, whatever becomes of it."""
        if event["event"] == "connect" and event.get("call_direction") != "business_initiated":
            self._announced_s[event["id"]].append(self._trace.time_s())

    def _could_know_s(self, call_id: str, well_since_s: float) -> float:
        """Return from when on we could know of a call, all being well since then; never, if Meta did not try again."""
        known_s = [at_s for at_s in self._announced_s[call_id] if at_s > well_since_s]
        if (arrived_s := self.stories[call_id].arrived_s) is not None:
            known_s.append(max(arrived_s, well_since_s))
        return min(known_s, default=math.inf)

    # -- Graph -------------------------------------------------------------------------------------------------------

    def sent(self, request: Request, *, thawed: bool) -> None:
        """See a request leave; `thawed` says that its sender stood still a moment ago, perhaps behind the fence."""
        story, call = self.stories[request.call_id], self._meta.calls.get(request.call_id)
        overtaken_s = self._trace.time_s() - story.claimed_s
        for promise in self._outbound.sent(request, story.facts):
            self._violated(request.call_id, promise)
        # epoch 0: nobody owns the call that is told goodbye
        if 0 < request.epoch < story.epoch and overtaken_s > STALE_SENDER_S and not thawed:
            told = f"{request.action} was sent {overtaken_s:.1f} s after the claim of epoch {story.epoch}"
            self._violated(request.call_id, f"epoch {request.epoch}, which is over, sends nothing: {told}")
        if request.action != "accept":
            return
        accepts = self._accepts[request.call_id]
        # the leave for a first one may have been long on its way, and our farewell overtook it: Meta refuses it then
        farewell_s = None if call is None else call.farewell_s
        had_leave = not accepts.offers and farewell_s is not None and story.grants > 0 and story.granted_s < farewell_s
        accepts.offers.add(request.offer)
        if len(accepts.offers) > 1:
            self._violated(request.call_id, "an accept is repeated with the same offer only")
        if request.sender in accepts.answered:
            self._violated(request.call_id, "no accept follows one that was answered")
        if accepts.unsure:
            accepts.after_unsure += 1
            if accepts.after_unsure > 1:
                self._violated(request.call_id, "an accept of which nobody knows whether it arrived is probed once")
        accepts.unsure += 1
        if farewell_s is not None and request.sent_s > farewell_s and not thawed and not had_leave:
            self._violated(request.call_id, "no accept is sent after our farewell reached Graph")

    def concluded(self, request: Request, attempt: Attempt) -> None:
        """See what a sender made of its request."""
        self._outbound.concluded(request, attempt)
        if request.action != "accept":
            return
        accepts = self._accepts[request.call_id]
        certain = attempt.sent is Sent.NEVER or attempt.error is not None
        answered = attempt.reply is not None and attempt.reply.answer is not None
        if certain:
            accepts.unsure -= 1
        if answered:
            accepts.answered.add(request.sender)

    # -- media -------------------------------------------------------------------------------------------------------

    def packet(self, leg: SimLeg) -> None:
        """Hear a packet leave for a consumer."""
        if leg.call is None:
            return
        story, process = self.stories[leg.call.id], leg.process
        if story.owner != process.name and process.froze_s < story.claimed_s < process.thawed_s:
            leg.too_late += 1
            if leg.too_late == TICKS_TOO_LATE:
                told = f"{process} stood still while {story.owner} was given the call"
                self._violated(leg.call.id, f"one tick of media leaves a worker that lost its lease: {told}")

    def ended(self, call: MetaCall, troubled_until_s: float) -> None:
        """See a call end at Meta; what came before is judged from the last trouble on that excuses anything."""
        if call.placed:
            facts_of_it = (*self.stories[call.id].facts, *self.story_of(call).facts)
            for promise in broken_to_a_callee(call, facts_of_it, self._trace.time_s(), troubled_until_s):
                self._violated(call.id, promise)
            return
        silent_since_s = call.silent_since_s()
        if silent_since_s is None:
            known_s = self._could_know_s(call.id, troubled_until_s)
            rang_s = self._trace.time_s() - max(call.began_s, known_s - RINGS_FOR_S + REJECTED_WITHIN_S)
            if rang_s >= RINGS_FOR_S and call.page != TOKENLESS:
                self._violated(call.id, "no consumer is left ringing until Meta gives up: we reject in time")
            return
        silent_s = self._trace.time_s() - max(silent_since_s, troubled_until_s)
        if silent_s > SILENT_AT_MOST_S:
            self._violated(call.id, f"no consumer hears nothing for long after our fault: {silent_s:.1f} s")

    def story_of(self, call: MetaCall) -> Story:
        """Return the story of a call of Meta's, under whichever id it is told."""
        return self.stories[self._offered[call.offer] if call.placed else call.id]

    # -- in the end --------------------------------------------------------------------------------------------------

    def check_in_the_end(self, taken: list[Event]) -> None:
        """Compare what the logs say with what happened."""
        for event in taken:
            if event["event"] == "call_permission_reply":
                continue  # to whom it belongs, if to anybody, was looked up
            call = self._meta.calls[event["id"]]
            told = (*self.stories[call.id].facts, *self.story_of(call).facts)
            if not any(_tells(fact, event) for fact in told):
                self._violated(event["id"], f"a webhook answered 200 is in its log: {event['event']}")
        calls = tuple(self._meta.calls.values())
        connected_calls = {id(self.story_of(call)) for call in calls if call.connected_s is not None}
        for call in calls:
            for promise in broken_by_adoption(self.stories[call.id].facts, self.story_of(call).facts):
                self._violated(call.id, promise)
        for call_id, story in self.stories.items():
            connected = id(story) in connected_calls
            for promise in broken_in_the_end(story.facts):
                self._violated(call_id, promise)
            if story.outcome == "completed" and not connected:
                self._violated(call_id, "completed means that both were connected")
            if story.outcome == "lost" and not story.grants:
                self._violated(call_id, "only an accepted call can be lost")
            if story.outcome and story.grants and self._server.run("ZSCORE", OWED, call_id) is None:
                self._violated(call_id, "of every call that was accepted the metrics are owed")

    def check_nobody_is_lost(self) -> None:
        """See that every media worker has kept its calls."""
        for call_id, story in self.stories.items():
            if story.outcome == "lost":
                self._violated(call_id, "an outage for everybody costs nobody their call")

    def _violated(self, call_id: str, promise: str) -> None:
        self._trace.violated(f"{call_id}: {promise}")


def _tells(fact: facts.Fact, event: Event) -> bool:
    match fact, event["event"]:
        case facts.Arrived(), "connect":
            return True
        case facts.Terminated(status=status), "terminate":
            return bool(status == event["status"].lower())
        case facts.StatusChanged(status=status), "call_status":
            return bool(status == event["call_status"])
        case facts.MediaChanged(version=version), "media_update":
            return bool(version == event["session"]["version"])
        case _:
            return False


def _brief(fact: bytes) -> str:
    told: dict[str, Any] = msgspec.json.decode(fact)
    name = told.pop("fact")
    return f"{name} " + " ".join(f"{key}={value}" for key, value in told.items() if key != "traceback")
