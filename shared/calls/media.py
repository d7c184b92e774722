"""Versions of a call's media (videocalling, "versions"): one counter for Meta's changes and ours, read from the log.

It begins at 0, or at MEDIA_VERSION_START: whether the accept counts is UNKNOWN, for Meta's page and its sample differ.
An offer of ours that Meta takes moves it on by one, and so does a `media_update` webhook, whose `session.version` is
what counts. After a conflict the last version seen in a webhook is right; where that was just refused, or none was
seen, Meta has counted something that we did not see, and the next number is tried.
"""

from collections.abc import Iterable

from shared.calls import facts

CONFLICT = "conflict"
"""The cause of an `ActionFailed` by which Meta says that its media has another version than we thought."""


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
