"""The job that sends a message to a consumer: once, whatever happens, and tells what came of it.

Only a request that certainly never left is made again. An error of Graph's is an answer, and said as such; a reply that
is missing, or makes no sense, leaves it open whether the consumer has the message: a second one would be worse.
"""

import secrets
from typing import Final

import stamina

from shared import log
from shared.calls import facts
from shared.messenger import NOBODY, Outbox, Outcome, Parcel
from shared.meta.messages import read_sent
from shared.meta.remedy import remedy_for
from shared.wire import patiently
from workers.action.desk import Desk
from workers.action.experience import note_usage
from workers.action.verdict import Attempt, Sent, is_about_the_token, is_asked_too_often

ACTION: Final = "message"
"""As it is counted among the actions."""
CONNECTING_FOR_S: Final = 6.0

_log = log.get()


class _NeverLeft(Exception):
    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.trouble)
        self.attempt = attempt


async def send(desk: Desk, parcel_id: str) -> str:
    """Send a message unless it was taken before, and report the outcome to whoever waits and to its call's log."""
    outbox, run = Outbox(desk.bus.wire), secrets.token_hex(8)
    parcel = await patiently(lambda: outbox.find(parcel_id))
    if parcel is None:
        return "gone"
    taker = await patiently(lambda: outbox.take(parcel_id, run))
    if taker == run:
        outcome = await _send(desk, parcel)
    elif taker == NOBODY:
        return "called off"
    else:
        trouble = "the action worker that had the message in hand died"
        outcome = Outcome(cause="no_reply", trouble=trouble, ambiguous=True)
    _note(desk, parcel, outcome)
    if parcel.call_id:
        fact, identity = _fact(parcel, outcome), f"message:{parcel_id}"
        await patiently(lambda: desk.bus.route(parcel.call_id, fact, identity=identity))
    await patiently(lambda: outbox.settle(parcel_id, parcel, outcome))
    return outcome.cause or "sent"


async def _send(desk: Desk, parcel: Parcel) -> Outcome:
    token = desk.tokens.get(parcel.page)
    if token is None:
        trouble = f"Page {parcel.page} has no access token"
        return Outcome(cause="no_token", trouble=trouble, remedy="Add it to PAGE_TOKENS or PAGES_FILE.")
    attempt = await _post(desk, parcel, token)
    if is_about_the_token(attempt):
        desk.look_again()
        renewed = desk.tokens.get(parcel.page, token)
        attempt = attempt if renewed == token else await _post(desk, parcel, renewed)
    if attempt.sent is Sent.REPLIED:
        desk.tally.replied(ACTION, attempt.took_ms)
    if not (parcel.kind == "calling_optin" and is_asked_too_often(attempt)):
        await note_usage(desk, parcel.page, attempt)
    return _read(attempt)


async def _post(desk: Desk, parcel: Parcel, token: str) -> Attempt:
    try:
        async for trial in stamina.retry_context(on=_NeverLeft, attempts=None, timeout=CONNECTING_FOR_S):
            with trial:
                attempt = await desk.graph.request("POST", parcel.page, "messages", token, body=parcel.body)
                if attempt.sent is Sent.NEVER:
                    raise _NeverLeft(attempt)
    except _NeverLeft as end:
        return end.attempt
    return attempt


def _read(attempt: Attempt) -> Outcome:
    error = attempt.error
    if error is not None:
        return Outcome(
            cause="graph",
            trouble=error.message,
            code=error.code,
            subcode=error.error_subcode,
            fbtrace_id=error.fbtrace_id,
            remedy=remedy_for(error),
        )
    sent = read_sent(attempt.body or b"")
    if sent is not None and attempt.status is not None and 200 <= attempt.status < 300:
        return Outcome(message_id=sent.message_id)
    if attempt.sent is Sent.NEVER:
        return Outcome(cause="unreachable", trouble=attempt.trouble, remedy=remedy_for(None))
    trouble = attempt.trouble or f"Graph answered HTTP {attempt.status} and named no message"
    refused = attempt.status is not None and 400 <= attempt.status < 500
    cause = "graph" if refused else "no_reply"
    return Outcome(cause=cause, trouble=trouble, remedy=remedy_for(None), ambiguous=not refused)


def _fact(parcel: Parcel, outcome: Outcome) -> facts.Fact:
    if outcome.message_id:
        return facts.MessageSent(kind=parcel.kind, message_id=outcome.message_id)
    return facts.MessageFailed(
        kind=parcel.kind,
        cause=outcome.cause,
        message=outcome.trouble,
        code=outcome.code,
        subcode=outcome.subcode,
        fbtrace_id=outcome.fbtrace_id,
        ambiguous=outcome.ambiguous,
    )


def _note(desk: Desk, parcel: Parcel, outcome: Outcome) -> None:
    desk.tally.ended(ACTION, outcome.cause or "sent")
    _log.info(
        "message.settled",
        kind=parcel.kind,
        page=parcel.page,
        call=parcel.call_id or None,
        message_id=outcome.message_id or None,
        cause=outcome.cause or None,
        code=outcome.code,
        subcode=outcome.subcode,
        fbtrace_id=outcome.fbtrace_id,
        ambiguous=outcome.ambiguous or None,
    )
