"""What is drawn of a call on its time axis: marks and bars in lanes, from its facts."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from shared.calls import agent_facts, facts
from shared.meta.sdp import digest_of

LANES: Final = ("meta", "graph", "line", "media", "agents")
"""Webhooks of Meta's; requests to it; workers and handlers of ours; the media connection; agents of the desk."""

_BAD_CAUSES: Final = frozenset({"connection_lost", "failed"})


class Mark(NamedTuple):
    """One thing that happened, or lasted from `at_ms` to `until_ms`, Unix milliseconds."""

    lane: str
    at_ms: int
    label: str
    detail: str = ""
    until_ms: int | None = None
    bad: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return self._asdict()


def marks(log: Sequence[facts.Fact]) -> list[Mark]:
    """Return the marks, in order of time."""
    made = [mark for fact in log for mark in (*_of_meta(fact), *_of_graph(fact), *_of_line(fact), *_of_media(fact))]
    made += [*_first_packet(log), *_talks(log)]
    return sorted(made, key=lambda mark: mark.at_ms)


def _of_meta(fact: facts.Fact) -> Iterator[Mark]:
    match fact:
        case facts.Arrived(at_ms=at_ms, sent_at_ms=sent_at_ms):
            late = f"sent by Meta {at_ms - sent_at_ms} ms before" if 0 < at_ms - sent_at_ms < 3_600_000 else ""
            yield Mark("meta", at_ms, "connect", late)
        case facts.StatusChanged(at_ms=at_ms, status=status):
            yield Mark("meta", at_ms, status, "call_status webhook")
        case facts.MediaChanged(at_ms=at_ms, version=version, sdp=sdp):
            yield Mark("meta", at_ms, f"media_update v{version}", digest_of(sdp))
        case facts.Terminated(at_ms=at_ms, status=status, duration_s=duration_s):
            yield Mark("meta", at_ms, "terminate", status + ("" if duration_s is None else f", {duration_s} s"))
        case facts.PermissionReplied(at_ms=at_ms, response=response):
            yield Mark("meta", at_ms, f"consumer: {response}", "call_permission_reply webhook")
        case facts.Unrecognized(at_ms=at_ms, event=event):
            yield Mark("meta", at_ms, event, "an event that no page of Meta's documents")


def _of_graph(fact: facts.Fact) -> Iterator[Mark]:
    match fact:
        case facts.ActionGranted(at_ms=at_ms, action=action):
            yield Mark("graph", at_ms, f"may {action}", "the fence let it through")
        case facts.AnswerReceived(at_ms=at_ms, graph_ms=graph_ms):
            yield _request("accept", at_ms, graph_ms)
        case facts.ConnectAnswered(at_ms=at_ms, graph_ms=graph_ms):
            yield _request("connect", at_ms, graph_ms)
        case facts.MediaAnswered(at_ms=at_ms, graph_ms=graph_ms, version=version):
            yield _request(f"media_update v{version}", at_ms, graph_ms)
        case facts.ActionSettled(at_ms=at_ms, action=action, graph_ms=graph_ms, attempts=attempts):
            yield _request(action, at_ms, graph_ms, "" if attempts <= 1 else f"at attempt {attempts}")
        case facts.ActionFailed(at_ms=at_ms, action=action, cause=cause, message=message, code=code):
            said = " · ".join(part for part in (cause, message, "" if code is None else f"code {code}") if part)
            yield Mark("graph", at_ms, action, said, bad=True)
        case facts.PermissionRead(at_ms=at_ms, status=status):
            yield Mark("graph", at_ms, "permission", status)
        case facts.MessageSent(at_ms=at_ms, kind=kind):
            yield Mark("graph", at_ms, f"message: {kind}")
        case facts.MessageFailed(at_ms=at_ms, kind=kind, cause=cause, message=message):
            yield Mark("graph", at_ms, f"message: {kind}", message or cause, bad=True)


def _request(action: str, at_ms: int, graph_ms: int, detail: str = "") -> Mark:
    took = f"{graph_ms} ms" if graph_ms else ""
    said = ", ".join(part for part in (took, detail) if part)
    return Mark("graph", at_ms - graph_ms, action, said, at_ms if graph_ms else None)


def _of_line(fact: facts.Fact) -> Iterator[Mark]:
    match fact:
        case facts.Placed(at_ms=at_ms):
            yield Mark("line", at_ms, "to be placed")
        case facts.Claimed(at_ms=at_ms, worker=worker, epoch=epoch):
            yield Mark("line", at_ms, f"claim {epoch}", worker)
        case facts.HandedBack(at_ms=at_ms, worker=worker):
            yield Mark("line", at_ms, "handed back", worker)
        case facts.LogRestored(at_ms=at_ms):
            yield Mark("line", at_ms, "log restored", "Redis was emptied", bad=True)
        case facts.DeadlinePassed(at_ms=at_ms):
            yield Mark("line", at_ms, "deadline passed", bad=True)
        case facts.HandlerStarted(at_ms=at_ms, handler=handler):
            yield Mark("line", at_ms, "handler", handler)
        case facts.HandlerReplaced(at_ms=at_ms, because=because, error=error):
            yield Mark("line", at_ms, f"handler {because}", error, bad=because == "raised")
        case facts.HandlerEnded(at_ms=at_ms, how=how, error=error):
            yield Mark("line", at_ms, f"handler {how}", error, bad=how == "raised")
        case facts.RejectAsked(at_ms=at_ms, reason=reason):
            yield Mark("line", at_ms, "reject", reason)
        case facts.HangUpAsked(at_ms=at_ms, by=by):
            yield Mark("line", at_ms, "hang up", f"by {by}")
        case facts.RecordingStarted(at_ms=at_ms):
            yield Mark("line", at_ms, "recording")
        case facts.Closed(at_ms=at_ms, outcome=outcome):
            yield Mark("line", at_ms, "closed", outcome)


def _of_media(fact: facts.Fact) -> Iterator[Mark]:
    match fact:
        case facts.OfferMade(at_ms=at_ms, sdp=sdp):
            yield Mark("media", at_ms, "offer", digest_of(sdp))
        case facts.LegConnected(at_ms=at_ms, setup_ms=setup_ms):
            yield Mark("media", at_ms - setup_ms, "ICE, DTLS", f"connected after {setup_ms} ms", at_ms)
        case facts.MediaOffered(at_ms=at_ms, sdp=sdp):
            yield Mark("media", at_ms, "our change", digest_of(sdp) if sdp else "tracks are switched")
        case facts.MediaAnswerMade(at_ms=at_ms, version=version):
            yield Mark("media", at_ms, f"answer to v{version}")
        case facts.LegFailed(at_ms=at_ms, reason=reason):
            yield Mark("media", at_ms, "broken", reason, bad=reason != facts.PEER_CLOSED)
        case facts.LegClosed(at_ms=at_ms):
            yield Mark("media", at_ms, "media closed")


def _first_packet(log: Sequence[facts.Fact]) -> Iterator[Mark]:
    connected = next((fact for fact in log if isinstance(fact, facts.LegConnected)), None)
    closed = next((fact for fact in log if isinstance(fact, facts.LegClosed)), None)
    if connected is not None and closed is not None and closed.first_packet_ms is not None:
        at_ms = connected.at_ms + round(closed.first_packet_ms)
        yield Mark("media", at_ms, "first packet", f"{closed.first_packet_ms:.0f} ms after the connection")


def _talks(log: Sequence[facts.Fact]) -> Iterator[Mark]:
    """Tell of agents: who waits for them, who talks, for how long, and when the consumer hears music."""
    asked: dict[str, agent_facts.AgentAsked] = {}
    began_ms: dict[str, int] = {}
    for fact in log:
        match fact:
            case agent_facts.Queued(at_ms=at_ms, queue=queue, agent=agent):
                yield Mark("agents", at_ms, f"waits: {agent or queue}")
            case agent_facts.AgentAsked(leg=leg):
                asked[leg] = fact
            case agent_facts.AgentConnected(at_ms=at_ms, leg=leg):
                began_ms[leg] = at_ms
            case agent_facts.Held(at_ms=at_ms):
                yield Mark("agents", at_ms, "on hold")
            case agent_facts.Resumed(at_ms=at_ms):
                yield Mark("agents", at_ms, "off hold")
            case agent_facts.AgentLeft(at_ms=at_ms, leg=leg, because=because) if leg in asked:
                who, bad = asked.pop(leg), because in _BAD_CAUSES
                from_ms = began_ms.pop(leg, who.at_ms)
                yield Mark("agents", from_ms, _name(who), because.replace("_", " "), at_ms, bad)
            case agent_facts.NoteWritten(at_ms=at_ms, agent=agent):
                yield Mark("agents", at_ms, f"{agent} notes")
    for leg, who in asked.items():
        yield Mark("agents", began_ms.get(leg, who.at_ms), _name(who), "on the call", log[-1].at_ms)


def _name(asked: agent_facts.AgentAsked) -> str:
    return f"{asked.agent} listens" if asked.listens else asked.agent
