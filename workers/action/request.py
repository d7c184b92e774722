"""What an action says to Graph, made of its call's log: a job's arguments hold no SDP and no consumer."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared.calls import facts
from shared.calls.changing import version_of
from shared.calls.ending import FAREWELLS
from shared.entries import LogEntry
from shared.meta.graph import connect_body, media_body, request_body
from shared.meta.messages import optin_body
from shared.outbound import is_ours


class Request(NamedTuple):
    """One request about a Page; see `Graph.request`."""

    method: str
    edge: str
    body: bytes | None = None
    params: Mapping[str, str] | None = None
    makes_version: int = 0
    """Of the media, where it changes that."""
    offers: bool = False
    """Whether it holds an offer, which has to be answered."""


def needs_the_log(action: str, call_id: str) -> bool:
    """Tell whether the call's id is not all that the request holds."""
    return action not in FAREWELLS or is_ours(call_id)


def request_for(action: str, call_id: str, epoch: int, log: Sequence[LogEntry]) -> Request | None:
    """Return the request; none where the log shows that it is not wanted any more, or was made."""
    if any(_reports(entry.fact, action, epoch) for entry in log):
        return None  # the job is delivered once more: its worker died after it had reported
    match action:
        case "accept":
            offer = _offer(log, epoch)
            return Request("POST", "calls", request_body(action, call_id, offer)) if offer else None
        case "connect":
            offer, consumer = _offer(log, epoch), _placed(log).consumer
            return Request("POST", "calls", connect_body(consumer, offer)) if offer else None
        case "check_permission":
            return Request("GET", "messenger_call_permissions", params={"psid": _placed(log).consumer})
        case "optin":
            return Request("POST", "messages", optin_body(_placed(log).consumer))
        case _:
            meta_id = _meta_id(log) if is_ours(call_id) else call_id
            return Request("POST", "calls", request_body(action, meta_id)) if meta_id else None


def change_for(action: str, call_id: str, epoch: int, log: Sequence[LogEntry], start: int) -> Request | None:
    """Return the request that changes a call's media, or answers Meta's change; none where that was done.

    The version it is made from may move between two attempts.
    """
    told = [entry.fact for entry in log]
    meta_id = _meta_id(log) if is_ours(call_id) else call_id
    for fact in reversed(told):
        match action, fact:
            case "media_update", facts.MediaAnswered() | facts.ActionFailed(action="media_update"):
                break  # the job is delivered once more: its worker died after it had reported
            case "media_update", facts.MediaOffered(epoch=of, sdp=sdp, tracks=tracks) if of == epoch:
                if sdp is None:
                    return Request("POST", "calls", media_body(meta_id, None, tracks=tracks))
                version = version_of(told, start)
                body = media_body(meta_id, sdp, tracks=tracks, version=version)
                return Request("POST", "calls", body, makes_version=version + 1, offers=True)
            case "media_answer", facts.MediaAnswerMade(epoch=of, sdp=sdp) if of == epoch:
                return Request("POST", "calls", media_body(meta_id, sdp, kind="answer"))
    return None


def _reports(fact: facts.Fact, action: str, epoch: int) -> bool:
    match fact:
        case facts.ActionFailed(action=failed):
            told = fact.epoch == epoch or (action == "connect" and fact.epoch == 0 and not fact.ambiguous)
            return failed == action and action not in FAREWELLS and told
        case facts.AnswerReceived():
            return action == "accept" and fact.epoch == epoch
        case facts.ConnectAnswered():
            return action == "connect"
        case facts.PermissionRead():
            return action == "check_permission" and fact.epoch == epoch
        case _:
            return False


def _offer(log: Sequence[LogEntry], epoch: int) -> str:
    """Return the newest offer of this epoch."""
    said = [entry.fact for entry in log if entry.fact.epoch == epoch]
    return next((fact.sdp for fact in reversed(said) if isinstance(fact, facts.OfferMade)), "")


def _placed(log: Sequence[LogEntry]) -> facts.Placed:
    return next(entry.fact for entry in log if isinstance(entry.fact, facts.Placed))


def _meta_id(log: Sequence[LogEntry]) -> str:
    return next((entry.fact.meta_id for entry in log if isinstance(entry.fact, facts.ConnectAnswered)), "")
