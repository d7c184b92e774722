"""What happened between a call and the agents of the desk: facts as all others, see `facts`.

An agent's leg is a media connection between a browser and the worker that owns the call. The worker offers, the
browser answers, and both descriptions are facts, so that whichever web process serves the agent finds the worker.
"""

from shared.calls.fact import Fact


class Attended(Fact, frozen=True):
    """The root of those facts."""


# -- from the desk, on behalf of agents --------------------------------------------------------------------------------


class AgentAsked(Attended, frozen=True):
    """An agent took the call, or a supervisor wants to listen in: a leg is to be offered."""

    agent: str
    leg: str
    queue: str = ""
    listens: bool = False


class AgentAnswered(Attended, frozen=True):
    """The browser's answer to the offer of its leg."""

    leg: str
    sdp: str


class PartingAsked(Attended, frozen=True):
    """An agent is to leave the call: it `hung_up`, or stops listening (`left`)."""

    leg: str
    because: str


class HoldAsked(Attended, frozen=True):
    """An agent puts the consumer on hold, or takes it off."""

    leg: str
    on: bool


class TransferAsked(Attended, frozen=True):
    """An agent gives the call to a queue, or to a colleague."""

    leg: str
    queue: str = ""
    agent: str = ""


class NoteWritten(Attended, frozen=True):
    """What an agent notes of the call; a later note of the same agent replaces it."""

    agent: str
    text: str


# -- from the media worker that owns the call --------------------------------------------------------------------------


class Queued(Attended, frozen=True):
    """The call waits for an agent of a queue, or for one agent."""

    queue: str
    agent: str = ""


class AgentOffered(Attended, frozen=True):
    """The complete offer of an agent's leg."""

    leg: str
    sdp: str


class AgentConnected(Attended, frozen=True):
    """ICE and DTLS of an agent's leg are up."""

    leg: str
    setup_ms: int


class Held(Attended, frozen=True):
    """The consumer hears music in place of the agent."""

    leg: str


class Resumed(Attended, frozen=True):
    """The consumer and the agent hear each other again."""

    leg: str


class AgentLeft(Attended, frozen=True):
    """An agent's leg is gone: `hung_up`, `left`, `transferred`, `call_ended`, `connection_lost` or `failed`."""

    leg: str
    because: str
    detail: str = ""


FromDesk = AgentAsked | AgentAnswered | PartingAsked | HoldAsked | TransferAsked | NoteWritten
DeskFact = FromDesk | Queued | AgentOffered | AgentConnected | Held | Resumed | AgentLeft
