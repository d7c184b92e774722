"""The trace of a call: the spans that its log amounts to, from the webhook to the end. Pure.

The ids of the trace and of its root span follow from the call's id, so that whoever knows the call can add to its trace
and nothing has to carry a context. docs/decisions/0018-traces-are-folded-from-the-log.md says why the log is asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias, TypeVar

from shared.calls import facts
from shared.calls.summary import fold

F = TypeVar("F", bound=facts.Fact)
Attribute: TypeAlias = str | bool | int | float | Sequence[str]

LONGEST_DELIVERY_MS: Final = 60_000
"""A webhook that is older was sent again; when it was first sent is no part of how long we took."""


class Span(NamedTuple):
    """Something that took time; Unix milliseconds on the server's clock."""

    name: str
    start_ms: int
    end_ms: int
    attributes: Mapping[str, Attribute]
    error: str = ""
    """What went wrong, in a word; it bears no ids of consumers."""
    calls_out: bool = False
    """Somebody else was asked, and took the time."""


class Moment(NamedTuple):
    """Something that took no time."""

    name: str
    at_ms: int


def trace_id(call_id: str) -> int:
    """Return the 128 bits that name the call's trace."""
    return int.from_bytes(blake2b(call_id.encode(), digest_size=16, person=b"pageline-trace").digest())


def root_span_id(call_id: str) -> int:
    """Return the 64 bits that name the span of the whole call."""
    return int.from_bytes(blake2b(call_id.encode(), digest_size=8, person=b"pageline-span").digest())


def began_ms(log: Sequence[facts.Fact]) -> int:
    """Return when the call began: when Meta sent the webhook that told of it, or when we were asked to place it."""
    return min((span.start_ms for span in _webhook(log)), default=log[0].at_ms)


def spans(log: Sequence[facts.Fact]) -> list[Span]:
    """Return what happened in the call, without the call itself, in no certain order."""
    return [
        span
        for part in (_webhook, _claims, _handlers, _offers, _graph, _media, _talk)
        for span in part(log)
        if span.end_ms >= span.start_ms
    ]


def moments(log: Sequence[facts.Fact]) -> list[Moment]:
    """Return when the first packets of sound left and came."""
    connected = _first(log, facts.LegConnected)
    closed = next((fact for fact in reversed(log) if isinstance(fact, facts.LegClosed)), None)
    if connected is None:
        return []
    found = [Moment("first packet out", connected.at_ms)]
    if closed is not None and closed.first_packet_ms is not None:
        found.append(Moment("first packet in", connected.at_ms + round(closed.first_packet_ms)))
    return found


def _webhook(log: Iterable[facts.Fact]) -> Iterator[Span]:
    """From Meta's own timestamp until it was in the log; two clocks, and nothing where they contradict each other."""
    arrived = _first(log, facts.Arrived)
    if arrived is not None and 0 <= arrived.at_ms - arrived.sent_at_ms <= LONGEST_DELIVERY_MS:
        yield Span("webhook", arrived.sent_at_ms, arrived.at_ms, {"event": "connect"})


def _claims(log: Iterable[facts.Fact]) -> Iterator[Span]:
    """How long a call was nobody's; one that is taken over from a dead worker was that worker's until then."""
    free_since_ms: int | None = None
    for fact in log:
        match fact:
            case facts.Arrived() | facts.Placed() | facts.HandedBack():
                free_since_ms = fact.at_ms
            case facts.Claimed(worker=worker, epoch=epoch):
                taken_over = epoch > 1 and free_since_ms is None
                told: dict[str, Attribute] = {"worker": worker, "epoch": epoch, "taken_over": taken_over}
                yield Span("claim", fact.at_ms if free_since_ms is None else free_since_ms, fact.at_ms, told)
                free_since_ms = None


def _handlers(log: Iterable[facts.Fact]) -> Iterator[Span]:
    claimed: facts.Claimed | None = None
    running: facts.HandlerStarted | None = None
    for fact in log:
        match fact:
            case facts.Claimed():
                claimed, running = fact, None
            case facts.HandlerStarted(handler=handler):
                if claimed is not None and running is None:
                    yield Span("handler start", claimed.at_ms, fact.at_ms, {"handler": handler})
                running = fact
            case facts.HandlerReplaced(because=how) | facts.HandlerEnded(how=how) if running is not None:
                raised = "raised" if how == "raised" else ""
                yield Span("handler", running.at_ms, fact.at_ms, {"handler": running.handler, "how": how}, raised)


def _offers(log: Iterable[facts.Fact]) -> Iterator[Span]:
    """From when the handler ran until our offer was complete; and from there until an action worker may send it."""
    running_ms: int | None = None
    offered_ms: int | None = None
    for fact in log:
        match fact:
            case facts.HandlerStarted():
                running_ms = fact.at_ms
            case facts.OfferMade(epoch=epoch):
                offered_ms = fact.at_ms
                if running_ms is not None:
                    yield Span("offer", running_ms, fact.at_ms, {"epoch": epoch})
            case facts.ActionGranted(action="accept" | "connect" as action) if offered_ms is not None:
                yield Span(f"{action} queued", offered_ms, fact.at_ms, {})
                offered_ms = None


def _graph(log: Iterable[facts.Fact]) -> Iterator[Span]:
    """What was asked of Graph: its reply took so long that came before the fact."""
    granted_ms: dict[str, int] = {}
    for fact in log:
        match fact:
            case facts.ActionGranted(action=action):
                granted_ms[action] = fact.at_ms
            case facts.AnswerReceived():
                yield _asked("accept", fact.at_ms, fact.graph_ms, fact.fbtrace_id)
            case facts.ConnectAnswered():
                yield _asked("connect", fact.at_ms, fact.graph_ms, fact.fbtrace_id)
            case facts.MediaAnswered():
                yield _asked("media_update", fact.at_ms, fact.graph_ms, None)
            case facts.ActionSettled(action=action, attempts=attempts):
                yield _asked(action, fact.at_ms, fact.graph_ms, fact.fbtrace_id, attempts=attempts)
            case facts.ActionFailed(action=action, cause=cause):
                told = {"status": fact.status, "code": fact.code, "subcode": fact.subcode, "attempts": fact.attempts}
                known = {name: value for name, value in told.items() if value is not None}
                trace = {"fbtrace_id": fact.fbtrace_id} if fact.fbtrace_id else {}
                since_ms = granted_ms.get(action, fact.at_ms)
                yield Span(f"graph {action}", since_ms, fact.at_ms, {**known, **trace}, cause, calls_out=True)


def _asked(action: str, at_ms: int, graph_ms: int, fbtrace_id: str | None, **more: int) -> Span:
    trace = {"fbtrace_id": fbtrace_id} if fbtrace_id else {}
    return Span(f"graph {action}", at_ms - graph_ms, at_ms, {**more, **trace}, calls_out=True)


def _media(log: Iterable[facts.Fact]) -> Iterator[Span]:
    """From Graph's answer until the media worker applied it, and from there until ICE and DTLS were up."""
    answered_ms: int | None = None
    for fact in log:
        match fact:
            case facts.AnswerReceived() | facts.ConnectAnswered():
                answered_ms = fact.at_ms
            case facts.LegConnected(setup_ms=setup_ms) if answered_ms is not None:
                applied_ms = max(answered_ms, fact.at_ms - setup_ms)
                yield Span("answer delivered", answered_ms, applied_ms, {})
                yield Span("ice and dtls", applied_ms, fact.at_ms, {})
                answered_ms = None
            case facts.LegFailed() if answered_ms is not None:
                yield Span("ice and dtls", answered_ms, fact.at_ms, {}, "not connected")
                answered_ms = None


def _talk(log: Sequence[facts.Fact]) -> Iterator[Span]:
    told = fold(log)
    if told.live_ms is not None and told.ended_ms is not None:
        yield Span("talk", told.live_ms, told.ended_ms, {})


def _first(log: Iterable[facts.Fact], kind: type[F]) -> F | None:
    return next((fact for fact in log if isinstance(fact, kind)), None)
