"""How an errand ended, in words: the fact for the call's log, the dead letter, the sentence for whoever reads it."""

from shared.calls import facts
from shared.dead import Letter
from shared.meta.graph import GraphError
from shared.meta.permissions import read_permission
from shared.meta.remedy import remedy_for
from workers.action.errand import Errand, GivenUp
from workers.action.verdict import Attempt, Verdict


def settled(errand: Errand, attempt: Attempt) -> facts.Fact:
    """Return the fact that Graph took the action."""
    reply = attempt.reply
    if errand.action == "accept" and reply is not None and reply.answer is not None:
        return facts.AnswerReceived(
            sdp=reply.answer,
            renegotiation=reply.renegotiation,
            graph_ms=attempt.took_ms,
            fbtrace_id=attempt.fbtrace_id,
            epoch=errand.epoch,
        )
    if errand.action == "connect" and reply is not None and reply.call_id is not None:
        return facts.ConnectAnswered(
            meta_id=reply.call_id,
            sdp=reply.answer,
            renegotiation=reply.renegotiation,
            graph_ms=attempt.took_ms,
            fbtrace_id=attempt.fbtrace_id,
            for_epoch=errand.epoch,
        )
    if errand.action == "check_permission" and (told := read_permission(attempt.body)) is not None:
        return facts.PermissionRead(
            status=told.status,
            may_call=told.may_call,
            may_ask=told.may_ask,
            expires_s=told.expires_s,
            epoch=errand.epoch,
        )
    if errand.action == "media_update" and errand.request is not None:
        return facts.MediaAnswered(
            version=errand.request.makes_version,
            sdp=None if reply is None else reply.answer,
            renegotiation=None if reply is None else reply.renegotiation,
            graph_ms=attempt.took_ms,
            epoch=errand.epoch,
        )
    return facts.ActionSettled(
        action=errand.action,
        graph_ms=attempt.took_ms,
        attempts=len(errand.trials),
        fbtrace_id=attempt.fbtrace_id,
        epoch=errand.epoch,
    )


def failed(errand: Errand, end: GivenUp) -> facts.ActionFailed:
    """Return the fact that it will not be done."""
    error = (end.attempt and end.attempt.error) or GraphError()
    return facts.ActionFailed(
        action=errand.action,
        cause=end.cause,
        message=_what_happened(errand, end),
        code=error.code,
        subcode=error.error_subcode,
        fbtrace_id=error.fbtrace_id,
        status=end.attempt and end.attempt.status,
        attempts=len(errand.trials),
        ambiguous=errand.ambiguous,
        # whoever owns the call now must know what became of a `connect` that may have reached Meta
        epoch=0 if errand.action == "connect" and errand.granted else errand.epoch,
    )


def letter(errand: Errand, end: GivenUp) -> Letter:
    """Return the dead letter: everything an operator needs to understand it and to try again."""
    return Letter(
        why="no_page_token" if end.cause == "no_token" else f"action_{end.cause}",
        detail=f"{errand.action} for Page {errand.page}: {explanation(errand, end)}",
        call_id=errand.call_id,
        page=errand.page,
        action=errand.action,
        epoch=errand.epoch,
        deadline_ms=errand.deadline_ms,
        verdict=errand.verdict,
        attempts=tuple(errand.trials),
    )


def limited(page: str, for_s: float) -> str:
    """Return why a call is not placed while Graph limits the Page."""
    return (
        f"Graph's limits for Page {page} are nearly used up, and what is left of them is for who calls; no call is "
        f"placed for {for_s / 60:.0f} min more."
    )


def explanation(errand: Errand, end: GivenUp) -> str:
    """Return the cause and the remedy, as far as they are known."""
    error = end.attempt and end.attempt.error
    codes = (("code", error.code), ("subcode", error.error_subcode)) if error else ()
    named = ", ".join(f"{name} {code}" for name, code in codes if code)
    said = _what_happened(errand, end)
    for_long = f"Tried {len(errand.trials)} times." if errand.verdict is Verdict.AGAIN else ""
    remedy = remedy_for(error) if end.attempt else ""
    sentences = (f"{named}: {said}" if named else said, for_long, remedy)
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences if sentence)


def _what_happened(errand: Errand, end: GivenUp) -> str:
    match end.cause:
        case "no_token":
            return f"Page {errand.page} has no access token. Add it to PAGE_TOKENS or PAGES_FILE."
        case "too_late":
            return "The action's time was up before it could be sent."
        case "refused":
            return f"The {errand.action} was granted before, or barred by the call's end; a second one is never sent."
    attempt = end.attempt
    if attempt is None:
        return end.message
    if attempt.error is not None:
        return attempt.error.message
    return attempt.trouble or f"Graph answered HTTP {attempt.status} without an error envelope."
