"""What happened to a call, in the past tense: appended to its log, never edited.

A fact is encoded as JSON with its name under `fact`. `at_ms` is the server's clock when the log took it (Unix
milliseconds) and `epoch` the claim under which a worker said it (0: said by nobody who owns the call); both travel
beside the fact in the log and are set when it is read.
"""

from typing import Final

from shared.calls import agent_facts, fact, handler_facts

Fact = fact.Fact
under = fact.under


# -- from Meta, by signed webhook --------------------------------------------------------------------------------------


class Arrived(Fact, frozen=True):
    """A `connect` webhook: a consumer rings (Meta: calling/webhooks, "connect")."""

    page: str
    consumer: str
    """Page-scoped id of the consumer: whichever of `from` and `to` is not the Page."""
    direction: str
    """`user_initiated` or `business_initiated`."""
    sent_at_ms: int
    """The webhook's own timestamp, Unix milliseconds."""
    answer_by_ms: int
    """Give up answering after this, Unix milliseconds on the server's clock."""


class StatusChanged(Fact, frozen=True):
    """A `call_status` webhook of a call we placed: `ringing` or `accepted`."""

    status: str
    page: str = ""
    consumer: str = ""


class MediaChanged(Fact, frozen=True):
    """A `media_update` webhook: of several versions only the highest counts."""

    version: int
    sdp: str


class Terminated(Fact, frozen=True):
    """A `terminate` webhook: the call is over at Meta, whoever ended it."""

    status: str
    """`completed` or `failed`, lower case."""
    duration_s: int | None = None
    """Counted from when the business connected; none if it never did."""
    start_s: int | None = None
    end_s: int | None = None


class PermissionReplied(Fact, frozen=True):
    """A `call_permission_reply` webhook: the consumer says whether we may call."""

    response: str
    """`approve` or `reject`, lower case."""
    replied_at_ms: int
    """The webhook's own timestamp, Unix milliseconds."""
    expires_s: int | None = None
    """Until then, Unix seconds; with `approve` only."""


class Unrecognized(Fact, frozen=True):
    """An event of a call that no page of Meta documents yet, kept whole."""

    event: str
    body: str


# -- from whoever wants a call placed ----------------------------------------------------------------------------------


class Placed(Fact, frozen=True):
    """We are asked to call a consumer."""

    page: str
    consumer: str
    call_by_ms: int
    """Do not ring after this, Unix milliseconds on the server's clock: a permission may be long in coming."""
    handler: str = ""
    """`module:function`; the Page's own where empty."""
    ask_permission: bool = False
    """Ask the consumer, where we may not call."""
    ring_s: float = 45.0
    """Give up when nobody has picked up for so long."""


# -- from the bus ------------------------------------------------------------------------------------------------------


class Claimed(Fact, frozen=True):
    """A worker owns the call from here on, under this fact's epoch."""

    worker: str


class HandedBack(Fact, frozen=True):
    """A draining worker returned the call, not yet accepted, to the waiting room."""

    worker: str


class LogRestored(Fact, frozen=True):
    """Redis was emptied; who owned the call wrote everything above from memory. What was queued is gone."""


class DeadlinePassed(Fact, frozen=True):
    """The deadline that was armed for the call has passed."""

    deadline_ms: int


class ActionGranted(Fact, frozen=True):
    """`fence` let a Graph action through; for `accept` this happens at most once in a call's life."""

    action: str


class Closed(Fact, frozen=True):
    """The last word: nothing will be done for this call any more."""

    outcome: str


# -- from the media worker that owns the call --------------------------------------------------------------------------


class OfferMade(Fact, frozen=True):
    """The leg's complete offer, ready for `accept`."""

    sdp: str


class LegConnected(Fact, frozen=True):
    """ICE and DTLS are up: both sides can speak."""

    setup_ms: int
    """From applying the answer to connected."""


PEER_CLOSED: Final = "the peer closed"
"""The `reason` of a media connection that the far side ended in good order, known maybe before Meta tells of it."""


class LegFailed(Fact, frozen=True):
    """The media connection could not be made, or broke."""

    reason: str


class LegClosed(Fact, frozen=True):
    """The media connection is gone; the figures are what was measured, null where there was nothing to measure by.

    `peer` figures are what the peer's reports said of what we sent. docs/quality.md tells of each how it is measured.
    """

    packets_received: int = 0
    packets_lost: int = 0
    packets_sent: int = 0
    jitter_ms: float | None = None
    round_trip_ms: float | None = None
    jitter_buffer_ms: float | None = None
    concealed_ms: float | None = 0.0
    """None where no sound was decoded; before that was told apart, 0."""
    played_ms: float = 0.0
    first_packet_ms: float | None = None
    silent_concealed_ms: float | None = None
    recovered_ms: float | None = None
    paused_ms: float | None = None
    late_packets: int | None = None
    decoded_packets: int = 0
    round_trip_last_ms: float | None = None
    round_trip_min_ms: float | None = None
    round_trip_max_ms: float | None = None
    round_trip_total_ms: float = 0.0
    round_trips: int = 0
    peer_reports: int | None = None
    """None in logs from before they were counted."""
    peer_lost: int | None = None
    peer_lost_of: int | None = None
    peer_fraction_lost: float | None = None
    peer_jitter_ms: float | None = None
    mos_estimate: float | None = None
    """Of what we heard, 1 to 4.5: an estimate (ITU-T G.107)."""
    sent_mos_estimate: float | None = None
    """Of what we sent, at best, 1 to 4.5: an estimate (ITU-T G.107)."""


class MediaOffered(Fact, frozen=True):
    """We change our media: an offer, or none where only known tracks are switched (videocalling)."""

    sdp: str | None = None
    tracks: tuple[tuple[str, str, str], ...] = ()
    """Each track's msid, label and status."""
    heard: int = -1
    """The highest version of Meta's own changes that was applied before."""


class MediaAnswerMade(Fact, frozen=True):
    """Our answer to a `media_update` of Meta's, to be posted (MEDIA_UPDATE_ANSWER; UNKNOWN whether Meta wants it)."""

    version: int
    sdp: str


# -- from the handler, by way of that worker ---------------------------------------------------------------------------

RejectAsked = handler_facts.RejectAsked
HangUpAsked = handler_facts.HangUpAsked
RecordingStarted = handler_facts.RecordingStarted
RecordingStored = handler_facts.RecordingStored
HandlerStarted = handler_facts.HandlerStarted
HandlerReplaced = handler_facts.HandlerReplaced
HandlerEnded = handler_facts.HandlerEnded


# -- from the action worker --------------------------------------------------------------------------------------------


class AnswerReceived(Fact, frozen=True):
    """Graph took our `accept`: Meta's answer and, usually, its renegotiation offer. That reply is the only copy."""

    sdp: str
    renegotiation: str | None = None
    graph_ms: int = 0
    fbtrace_id: str | None = None
    """By which Meta's support finds the request."""


class PermissionRead(Fact, frozen=True):
    """Graph told whether we may call this consumer, and whether we may ask to (check-permissions)."""

    status: str
    """`has_permission` or `no_permission`, lower case."""
    may_call: bool
    may_ask: bool
    expires_s: int | None = None
    """Unix seconds."""


class ConnectAnswered(Fact, frozen=True):
    """Graph took our `connect`: the call has Meta's id and an answer to our offer, and rings or will."""

    meta_id: str
    sdp: str | None = None
    renegotiation: str | None = None
    graph_ms: int = 0
    fbtrace_id: str | None = None
    for_epoch: int = 0
    """The claim whose offer was answered. The fact is said under none: whoever owns the call now must know of it."""


class MediaAnswered(Fact, frozen=True):
    """Graph took our `media_update`; the SDP answers our offer, where there was one."""

    version: int
    """Of the media from then on; 0 where known tracks were switched, which makes no version."""
    sdp: str | None = None
    renegotiation: str | None = None
    graph_ms: int = 0


class ActionSettled(Fact, frozen=True):
    """Graph took an action, or said that what it asks for is already so."""

    action: str
    graph_ms: int = 0
    attempts: int = 1
    fbtrace_id: str | None = None


class ActionFailed(Fact, frozen=True):
    """An action will not succeed; `ambiguous` where Meta may have carried it out all the same."""

    action: str
    cause: str
    """`graph`, `unreachable`, `too_late`, `limited` (not asked, near a limit of Graph's), `refused` (by the fence),
    `redis_away`, `no_token`, `conflict` (see `changing`) or `broken` (by us)."""
    message: str = ""
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    status: int | None = None
    attempts: int = 0
    ambiguous: bool = False


class MessageSent(Fact, frozen=True):
    """Graph took a message that belongs to the call."""

    kind: str
    """`text`, `call_button`, `call_prompt` or `calling_optin`; what it says is nowhere kept."""
    message_id: str


class MessageFailed(Fact, frozen=True):
    """A message that belongs to the call was not sent; or perhaps it was, where `ambiguous`."""

    kind: str
    cause: str
    message: str = ""
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    ambiguous: bool = False


FromMeta = Arrived | StatusChanged | MediaChanged | Terminated | PermissionReplied | Unrecognized
FromUs = Placed | handler_facts.HandlerFact
FromBus = Claimed | HandedBack | LogRestored | DeadlinePassed | ActionGranted | Closed
FromLeg = OfferMade | LegConnected | LegFailed | LegClosed | MediaOffered | MediaAnswerMade
FromGraph = AnswerReceived | PermissionRead | ConnectAnswered | MediaAnswered | ActionSettled | ActionFailed
CallFact = FromMeta | FromUs | FromBus | FromLeg | FromGraph | MessageSent | MessageFailed | agent_facts.DeskFact
