"""What a call's log amounts to: its phase, who owns it, what is still running and what it still owes."""

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """Where a call stands. A call only ever moves down this list, but where an offer dies with its worker:
    ACCEPTING to RINGING, DIALLING to PLACING.
    """

    NEW = "new"  # something was heard of it, no arrival yet
    PLACING = "placing"  # we want to call; may we?
    DIALLING = "dialling"  # our offer is on its way to Graph, by `connect`
    CALLING = "calling"  # Meta answered; it rings at the consumer's
    RINGING = "ringing"  # it wants an answer, and has a deadline
    ACCEPTING = "accepting"  # our offer is on its way to Graph
    CONNECTING = "connecting"  # Meta answered; ICE and DTLS are at work
    LIVE = "live"  # both sides can speak
    ENDING = "ending"  # the outcome is known; handler, leg or farewell are not done yet
    ENDED = "ended"  # `Closed` is in the log


class Permission(StrEnum):
    """Whether a consumer lets us call, as far as we know."""

    UNKNOWN = "unknown"
    ASKING = "asking"  # our request is on its way to Graph
    ASKED = "asked"  # the consumer has it
    GRANTED = "granted"


class Outcome(StrEnum):
    """How a call ended; exactly one per call."""

    COMPLETED = "completed"  # both were connected
    MISSED = "missed"  # nobody answered in time
    DECLINED = "declined"  # we rejected it
    CANCELLED = "cancelled"  # the caller, or we before pick-up, gave up
    UNREACHED = "unreached"  # outbound, not picked up
    EXPIRED = "expired"  # no worker in time
    FAILED = "failed"  # Graph or media failed
    LOST = "lost"  # our process died with it


class AgentLeg(msgspec.Struct, frozen=True):
    """A leg to an agent of the desk."""

    leg: str
    agent: str
    listens: bool = False
    """It is a supervisor's, who is not heard."""
    offered: bool = False
    answered: bool = False
    connected: bool = False
    holds: bool = False
    """The agent wants the consumer on hold."""
    leaving: bool = False


class Call(msgspec.Struct, frozen=True):
    """The state of one call; times are Unix milliseconds on the server's clock."""

    phase: Phase = Phase.NEW
    page: str = ""
    consumer: str = ""
    direction: str = ""
    arrived_ms: int = 0
    sent_at_ms: int = 0
    answer_by_ms: int = 0
    answered_ms: int | None = None
    """Of a call that came to us: when both could speak."""

    epoch: int = 0
    owner: str = ""
    deadline_ms: int | None = None

    granted: bool = False
    """`fence` let our `accept` or `connect` through: Meta may have a call in which we speak."""
    media_version: int = -1
    pending_offer: str | None = None
    """A `media_update` that overtook the reply to our `accept`."""

    placed: bool = False
    """It is ours: an outbound call."""
    handler: str = ""
    """Of a call that we place; the Page's own where empty."""
    ask_permission: bool = False
    permission: Permission = Permission.UNKNOWN
    ring_ms: int = 0
    meta_id: str = ""
    """Meta's id of a call that we placed."""
    picked_up: bool = False
    leg_connected: bool = False
    """Of a call that we placed: media can flow, picked up or not."""

    media_out: bool = False
    """A change of our own media is on its way to Meta."""
    media_number: int = 0
    """Of the last change that was posted."""
    media_attempts: int = 0
    """How often Meta was asked for what the handler wants now."""
    answered_version: int = -1
    """Of the last offer of Meta's to which our answer was posted."""

    agents: tuple[AgentLeg, ...] = ()
    """The legs to agents of the desk that are made or there."""

    outcome: Outcome | None = None
    handler_running: bool = False
    leg_open: bool = False
    farewell: str | None = None
    """The action that still has to tell Meta that the call is over: `reject`, `terminate`, or `withdraw`, which
    keeps a `connect` from being sent."""
    closing: bool = False
    """`CloseCall` was ordered under this epoch."""
