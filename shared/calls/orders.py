"""What must now be done for a call, in the imperative. Only `machine.transition` gives orders."""

import msgspec


class Order(msgspec.Struct, frozen=True, tag_field="order", tag=True):
    """The root of all orders."""


class StartHandler(Order, frozen=True):
    """Run the user's coroutine."""


class RunOnLost(Order, frozen=True):
    """Run the handler's `on_lost`: our process died with the call in its hands."""


class StopHandler(Order, frozen=True):
    """Let the user's coroutine go: its await raises, its `finally` gets a few seconds."""

    because: str


class RefuseAnswer(Order, frozen=True):
    """Tell the handler that waits in `answer()` why Graph did not take it."""

    message: str
    code: int | None
    subcode: int | None
    fbtrace_id: str | None


class PostAction(Order, frozen=True):
    """Give a Graph action to the action worker; it must be sent before `deadline_ms` or not at all."""

    action: str
    deadline_ms: int
    number: int = 0
    """Tells apart the changes of media, of which one epoch may have many."""


class MakeOffer(Order, frozen=True):
    """Make a leg and its offer, for a call that we place."""


class Shelve(Order, frozen=True):
    """Let go of the call until something happens to it: a consumer may take days to answer a question."""


class Withdraw(Order, frozen=True):
    """Bar our `connect`, if it was not granted yet."""


class Seek(Order, frozen=True):
    """Look for the call that Meta may have made of our `connect`: it is to be ended, and its id is not known."""

    for_ms: int


class LetSpeak(Order, frozen=True):
    """Tell the handler that waits in `answer()` that the consumer has picked up and hears it."""


class ApplyAnswer(Order, frozen=True):
    """Apply Meta's answer and, back to back, its renegotiation offer."""

    sdp: str
    renegotiation: str | None


class ApplyOffer(Order, frozen=True):
    """Apply a later offer of Meta's; our answer stays local."""

    sdp: str


class ApplyChange(Order, frozen=True):
    """Meta took our change: apply its answer, where there is one to apply, and the offer it sends along."""

    sdp: str | None
    renegotiation: str | None


class ChangeAgain(Order, frozen=True):
    """Meta's media has moved on: forget our offer and, after a moment, make it anew."""


class RefuseChange(Order, frozen=True):
    """Forget our offer, and tell the handler why Meta did not take it."""

    message: str
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None


class AboutAgent(Order, frozen=True):
    """The root of the orders that have to do with an agent's leg."""

    leg: str


class OfferAgent(AboutAgent, frozen=True):
    """Offer a leg to an agent, who takes the call, or to a supervisor, who `listens`."""

    agent: str
    listens: bool


class ConnectAgent(AboutAgent, frozen=True):
    """Apply the answer of an agent's browser."""

    sdp: str


class HoldCaller(AboutAgent, frozen=True):
    """Let the consumer hear music in place of the agent, or the agent again."""

    on: bool


class GiveAway(AboutAgent, frozen=True):
    """Let the agent go and the call wait for a queue, or for another agent."""

    queue: str
    agent: str


class PartFromAgent(AboutAgent, frozen=True):
    """Close an agent's leg."""

    because: str


class CloseLeg(Order, frozen=True):
    """Close the media connection."""


class CloseCall(Order, frozen=True):
    """Write `Closed` and give the call back."""

    outcome: str
