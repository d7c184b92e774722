"""Changes of our own media in a live call, one at a time; pure, as `machine`, which calls it.

Meta counts one version for both sides' changes (videocalling, "versions"), and takes one of ours only if it is made
from the version in force. The counter is read from the log. It begins at 0, or at MEDIA_VERSION_START: whether the
accept counts is UNKNOWN, for Meta's page and its sample differ. An offer of ours that Meta takes moves it on by one,
and so does a `media_update` webhook, whose `session.version` is what counts. After a conflict the last version seen
in a webhook is right; where that was just refused, or none was seen, Meta has counted something that we did not see,
and the next number is tried.

A change that fails never ends the call.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from shared.calls import facts, orders
from shared.calls.ending import Step, is_due
from shared.calls.state import Call

USEFUL_MS = 10_000
"""A change of which Meta was not told by then is given up: somebody waits for it."""

SLACK_MS = 10_000
"""What its last attempt may take beyond that; then it is given up without a word from the action worker."""

ATTEMPTS = 4
"""After so many conflicts it is given up."""

CONFLICT = "conflict"
"""The cause of an `ActionFailed` by which Meta says that its media has another version than we thought."""


def transition(call: Call, fact: facts.Fact) -> Step:
    """Return the next state and what must now be done, for a call that is live."""
    match fact:
        case facts.MediaOffered(at_ms=at_ms) if not call.media_out:
            changing = replace(
                call,
                media_out=True,
                media_number=call.media_number + 1,
                media_attempts=call.media_attempts + 1,
                deadline_ms=at_ms + USEFUL_MS + SLACK_MS,
            )
            return changing, (orders.PostAction("media_update", at_ms + USEFUL_MS, changing.media_number),)
        case facts.MediaAnswered(version=version) if call.media_out:
            overtaken = call.media_version > version  # by an offer of Meta's that knows of ours
            apply = orders.ApplyChange(*((None, None) if overtaken else (fact.sdp, fact.renegotiation)))
            return replace(_back(call), media_attempts=0, agreed_version=version), (apply,)
        case facts.ActionFailed(action="media_update", cause=cause) if call.media_out:
            if cause == CONFLICT and call.media_attempts < ATTEMPTS:
                return _back(call), (orders.ChangeAgain(),)
            refuse = orders.RefuseChange(fact.message, fact.code, fact.subcode, fact.fbtrace_id)
            return replace(_back(call), media_attempts=0), (refuse,)
        case facts.DeadlinePassed() if call.media_out and is_due(call, fact):
            return replace(_back(call), media_attempts=0), (orders.RefuseChange("nothing came of it in time"),)
        case facts.MediaAnswerMade(version=version, at_ms=at_ms) if version > call.answered_version:
            number = call.media_number + 1
            post = orders.PostAction("media_answer", at_ms + USEFUL_MS, number)
            return replace(call, media_number=number, answered_version=version), (post,)
        case _:
            return call, ()


def _back(call: Call) -> Call:
    """Nothing of ours is under way any more."""
    return replace(call, media_out=False, deadline_ms=None)


def version_of(log: Iterable[facts.Fact], start: int = 0) -> int:
    """Return the version that the next change of ours is made from."""
    version, seen = start, -1
    for fact in log:
        match fact:
            case facts.MediaChanged(version=theirs) if theirs > seen:
                seen = theirs
                version = max(version, theirs)
            case facts.MediaAnswered(version=ours, renegotiation=renegotiation):
                version = ours + (renegotiation is not None)  # Meta's own sample program counts that offer, too
            case facts.ActionFailed(action="media_update", cause=cause) if cause == CONFLICT:
                version = seen if seen not in (-1, version) else version + 1
            case _:
                pass
    return version
