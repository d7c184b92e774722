"""Changes of our own media in a live call, one at a time; pure, as `machine`, which calls it.

Meta counts one version for both sides' changes (videocalling, "versions"), and takes one of ours only if it is made
from the version in force. The counter is read from the log. It begins at 0, or at MEDIA_VERSION_START; an offer of
ours that Meta takes moves it on by one (tracks that are only switched do not), and so does a `media_update` webhook,
whose `session.version` is what counts. Where Meta's pages contradict each other - whether the accept counts, whether
the offer that comes with an answer does - the other number is tried after a conflict; most conflicts, though, mean
that a change of Meta's is on its way to us, which the pause before the next attempt is for.

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
            return replace(_back(call), media_attempts=0), (apply,)
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
    """Return the version that the last change in the log was made from.

    What Meta has changed since it was made does not count: Meta must see that we did not know of it.
    """
    told = tuple(log)
    heard = next((fact.heard for fact in reversed(told) if isinstance(fact, facts.MediaOffered)), -1)
    guesses, refused, seen = [start, start + 1], 0, -1
    for fact in told:
        match fact:
            case facts.MediaChanged(version=theirs) if seen < theirs <= heard:
                seen = theirs
                if theirs >= guesses[0]:
                    guesses, refused = [theirs], 0
            case facts.MediaAnswered(sdp=str(), version=ours, renegotiation=renegotiation):
                # Meta's own sample program counts the offer that comes with an answer, too; its text does not
                guesses, refused = [ours + 1, ours] if renegotiation is not None else [ours], 0
                guesses += [seen] if seen >= 0 else []
            case facts.ActionFailed(action="media_update", cause=cause) if cause == CONFLICT:
                refused += 1
            case _:
                pass
    return guesses[refused % len(guesses)]
