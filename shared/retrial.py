"""Another try of what a dead letter is about, or none for ever (docs/decisions/0004-dead-letters.md)."""

from typing import Any

from shared import actions
from shared.bus import Bus
from shared.calls.ending import FAREWELL_USEFUL_MS, FAREWELLS
from shared.dead import Gone, Letter
from shared.errors import PagelineError
from shared.meta import webhook


class NotRetriable(PagelineError):
    """Nothing can come of another try; the message says why and what can be done instead."""


async def retry(bus: Bus, letter: Letter, *, answer_window_ms: int) -> str:
    """Try again, and return what was done; the letter goes when that has succeeded.

    Raises:
        NotRetriable: nothing can come of it.
    """
    if letter.why == "webhook_unreadable":
        return await _read_again(bus, letter, answer_window_ms)
    if not is_retriable(letter):
        raise NotRetriable(_why_not(letter))
    now_s, _ = await bus.wire.call("TIME")
    queued = await actions.retry(bus, letter, deadline_ms=int(now_s) * 1000 + FAREWELL_USEFUL_MS)
    return f"{_what(letter)} is queued{'' if queued else ' already'}; the letter goes when it has succeeded"


async def drop(bus: Bus, letter: Letter) -> str:
    """Forget a letter."""
    await bus.dead_letters.unbury(letter.id, Gone.DROPPED)
    return "dropped"


def is_retriable(letter: Letter) -> bool:
    """Tell whether something can come of another try."""
    again = letter.why in {"webhook_unreadable", "not_forwarded"} or letter.action in FAREWELLS
    return again or bool(letter.sink and letter.body)


def summary(letter: Letter) -> dict[str, Any]:
    """Return what fits on a line."""
    return {
        "id": letter.id,
        "why": letter.why,
        "at_ms": letter.first_buried_ms or letter.buried_ms,
        "call_id": letter.call_id or None,
        "page": letter.page or None,
        "action": letter.action or None,
        "sink": letter.sink or None,
        "verdict": letter.verdict or None,
        "attempts": len(letter.attempts),
        "detail": letter.detail,
    }


async def _read_again(bus: Bus, letter: Letter, answer_window_ms: int) -> str:
    """Decode a webhook with today's code and route what it says; killed midway, it can be done once more."""
    received = webhook.read(letter.body, now_ms=letter.buried_ms, answer_window_ms=answer_window_ms)
    if received.unreadable:
        raise NotRetriable(
            f"It is unreadable still: {received.unreadable[0].why}. "
            f"A newer pageline may know it; `pageline dead drop {letter.id}` forgets it."
        )
    for event in received.events:
        await bus.route(event.call_id, event.fact, identity=event.identity)
    await bus.dead_letters.unbury(letter.id, Gone.RETRIED)
    told = ", ".join(f"{type(event.fact).__name__} of call {event.call_id}" for event in received.events)
    return f"read: {told or 'nothing about calls'}"


def _what(letter: Letter) -> str:
    if letter.sink:
        return f"the record of call {letter.call_id} for {letter.sink}"
    return f"{letter.action} for call {letter.call_id}" if letter.action else "the webhook for WEBHOOK_FORWARD_URL"


def _why_not(letter: Letter) -> str:
    drop_it = f"`pageline dead drop {letter.id}` forgets it"
    if letter.action:
        return (
            f"{letter.action} of call {letter.call_id} cannot be tried again: it had to come while the call rang, and "
            f"that is over; {drop_it}."
        )
    return f"Nothing is known that could be tried again for {letter.why}; {drop_it}."
