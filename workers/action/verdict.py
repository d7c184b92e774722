"""What an attempt at a Graph action means: try again, settled, or hopeless. Pure.

Codes: messenger-calling error-codes and the Graph rate-limit pages. Where Meta names a condition without giving its
code (already accepted, already terminated, ...), the message is looked at; that is marked below.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from shared.calls.ending import FAREWELLS
from shared.calls.machine import CALL_OVER_CODES
from shared.meta.graph import THROTTLED_CODES, TOKEN_CODES, CallsReply, GraphError
from shared.meta.permissions import read_permission
from workers.action.usage import Usage


class Verdict(StrEnum):
    """What to do after an attempt."""

    AGAIN = "again"
    SETTLED = "settled"
    HOPELESS = "hopeless"


class Sent(StrEnum):
    """How far a request got."""

    NEVER = "never"  # no connection: Meta has not seen it
    MAYBE = "maybe"  # the reply is missing: Meta may have acted on it
    REPLIED = "replied"


class Attempt(NamedTuple):
    """One request to Graph and what came of it."""

    sent: Sent
    status: int | None = None
    reply: CallsReply | None = None
    retry_after_s: float | None = None
    took_ms: int = 0
    trouble: str = ""
    usage: Usage | None = None
    body: bytes | None = None
    """The reply as it came, for edges that answer with more than `CallsReply`."""
    date_s: float | None = None
    """What time it was there, Unix seconds."""
    heard_as: str | None = None
    """What Graph calls this request, of a reply without an error."""

    @property
    def error(self) -> GraphError | None:
        """Return Graph's error, if it sent one."""
        return None if self.reply is None else self.reply.error

    @property
    def fbtrace_id(self) -> str | None:
        """Return by what Meta's support finds the request."""
        return self.heard_as if self.error is None else self.error.fbtrace_id


ONCE_ONLY: Final = frozenset({"connect", "optin"})
"""Never sent again once Meta may have acted on it: a phone would ring twice, a consumer be asked twice."""
OFFER_REFUSED: Final = 2018392
"""Invalid SDP parameter (error-codes)."""
MEDIA: Final = frozenset({"media_update", "media_answer"})
"""Changes of a running call's media; nothing is lost with one that fails but itself."""
_TRANSIENT: Final = frozenset({1, 2})
_CUSTOM_LIMIT: Final = 613
"""Among others, more than two permission requests a day in one conversation (error-codes)."""
_RECIPIENT_CODES: Final = frozenset({551, 1545041, 2018001, 2018108})
"""The person cannot be reached, whoever asks."""


def judge(action: str, attempt: Attempt, *, probing: bool = False) -> Verdict:
    """Say what an attempt means for its action.

    `probing` is the one repeat of an `accept` whose first sending may have reached Meta: an answer saves the call,
    anything else cannot be repaired.
    """
    if action in ONCE_ONLY:
        return _judge_once_only(action, attempt)
    if attempt.sent is not Sent.REPLIED:
        return Verdict.HOPELESS if probing else Verdict.AGAIN
    error = attempt.error
    if error is None:
        return _judge_without_error(action, attempt, probing=probing)
    if action in FAREWELLS and is_over(error):
        return Verdict.SETTLED
    if probing:
        return Verdict.HOPELESS
    if error.is_transient or {error.code, error.error_subcode} & (_TRANSIENT | THROTTLED_CODES):
        return Verdict.AGAIN
    return Verdict.HOPELESS


def is_conflict(action: str, attempt: Attempt, *, offered: bool) -> bool:
    """Tell whether Meta's media has another version than we thought (videocalling).

    That is a success without the answer to our offer, or an error of which only the wording is known (code UNKNOWN).
    An offer that is refused (2018392) was made without knowing of a change of Meta's, whose version we had guessed.
    """
    if action != "media_update" or attempt.reply is None or attempt.status is None:
        return False
    if attempt.error is not None:
        message = attempt.error.message.lower()
        refused = offered and OFFER_REFUSED in {attempt.error.code, attempt.error.error_subcode}
        worded = any(word in message for word in ("conflict", "version"))
        return not is_over(attempt.error) and (refused or worded)
    return offered and 200 <= attempt.status < 300 and attempt.reply.answer is None


def is_ambiguous(action: str, attempt: Attempt) -> bool:
    """Tell whether Meta may have carried out the action although it did not say so."""
    if attempt.sent is Sent.MAYBE:
        return True
    error = attempt.error
    if action in ONCE_ONLY and error is not None:
        return error.is_transient or bool({error.code, error.error_subcode} & _TRANSIENT)
    return attempt.sent is Sent.REPLIED and attempt.error is None and not _succeeded(action, attempt)


def is_throttled(attempt: Attempt) -> bool:
    """Tell whether Graph asks us to slow down."""
    error = attempt.error
    return attempt.status == 429 or (error is not None and bool({error.code, error.error_subcode} & THROTTLED_CODES))


def is_asked_too_often(attempt: Attempt) -> bool:
    """Tell whether a consumer was asked for leave too often: a limit of one conversation, and not of the Page."""
    return attempt.error is not None and attempt.error.code == _CUSTOM_LIMIT


def is_about_the_token(attempt: Attempt) -> bool:
    """Tell whether Graph does not take the access token (any more)."""
    return attempt.error is not None and attempt.error.code in TOKEN_CODES


def is_about_this_call(error: GraphError) -> bool:
    """Tell whether the error says nothing about the Page: this call is over, or this person cannot be reached."""
    return is_over(error) or bool({error.code, error.error_subcode} & _RECIPIENT_CODES)


def is_unknown_path(attempt: Attempt | None) -> bool:
    """Tell whether Graph has no such edge: 404 with code 2500, "Unknown path components"."""
    return attempt is not None and attempt.status == 404


def is_over(error: GraphError) -> bool:
    """Tell whether Graph says that the call is over already: by code, or by a documented phrase (code UNKNOWN)."""
    if {error.code, error.error_subcode} & CALL_OVER_CODES:
        return True
    message = error.message.lower()
    return any(phrase in message for phrase in ("already rejected", "already terminated", "failed or completed call"))


def _judge_once_only(action: str, attempt: Attempt) -> Verdict:
    if attempt.sent is Sent.NEVER:
        return Verdict.AGAIN
    return Verdict.SETTLED if attempt.error is None and _succeeded(action, attempt) else Verdict.HOPELESS


def _judge_without_error(action: str, attempt: Attempt, *, probing: bool) -> Verdict:
    if _succeeded(action, attempt):
        return Verdict.SETTLED
    refused = action in FAREWELLS and attempt.reply is not None and _says_no(attempt.reply)
    if attempt.status is not None and (attempt.status >= 500 or attempt.status in {408, 429} or refused):
        return Verdict.HOPELESS if probing else Verdict.AGAIN
    return Verdict.HOPELESS


def _succeeded(action: str, attempt: Attempt) -> bool:
    if attempt.status is None or not 200 <= attempt.status < 300 or attempt.reply is None:
        return False
    match action:
        case "accept":
            return attempt.reply.answer is not None
        case "connect":  # without an answer it is a call all the same, and has to be ended
            return attempt.reply.call_id is not None
        case "check_permission":
            return read_permission(attempt.body) is not None
        case _:
            return not _says_no(attempt.reply)


def _says_no(reply: CallsReply) -> bool:
    """Tell whether Graph says that it did not do it, and gives no reason (UNKNOWN whether it ever does)."""
    return reply.success in (False, "false")
