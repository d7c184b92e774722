"""What a handler does with a call, and what becomes of the handler: facts as all others, see `facts`."""

from shared.calls.fact import Fact


class RejectAsked(Fact, frozen=True):
    """The handler declines the call; the reason stays on our record, Meta takes none."""

    reason: str


class HangUpAsked(Fact, frozen=True):
    """Somebody on our side ends the call: `handler`, `api`, `operator`, `drain` or `redis_away`."""

    by: str


class RecordingStarted(Fact, frozen=True):
    """What the caller says is being written, to be kept at this path or URL."""

    path: str


class RecordingStored(Fact, frozen=True):
    """A recording has arrived at its URL, `size` bytes long."""

    path: str
    size: int


class HandlerStarted(Fact, frozen=True):
    """The user's coroutine runs."""

    handler: str


class HandlerReplaced(Fact, frozen=True):
    """The user's coroutine has `raised` or `transferred` the call, and another is started in its place."""

    because: str
    error: str = ""
    traceback: str = ""


class HandlerEnded(Fact, frozen=True):
    """The last of the user's coroutines is over: `returned`, `raised` or `cancelled`."""

    how: str
    error: str = ""
    traceback: str = ""


HandlerFact = (
    RejectAsked | HangUpAsked | RecordingStarted | RecordingStored | HandlerStarted | HandlerReplaced | HandlerEnded
)
