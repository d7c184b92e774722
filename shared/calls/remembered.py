"""What Redis has to know of a call beside its log, read from a log that somebody remembered."""

from collections.abc import Sequence
from typing import NamedTuple

from shared.calls import facts


class Remembered(NamedTuple):
    """As much as the log tells; what Redis granted or sent last may not be in it."""

    may_be_granted: bool
    """An `accept` or `connect` may have been sent."""
    answer_by_ms: int | None
    meta_id: str
    """Meta's id of a call that we placed."""
    waits_for: tuple[str, str] | None
    """The Page and the consumer whose leave it may wait for."""
    may_have_asked: bool
    """The consumer may have been asked for it."""
    consumer: str


def remembered(log: Sequence[facts.Fact]) -> Remembered:
    """Read a log; in doubt, what must not happen twice has happened."""
    placed = next((fact for fact in log if isinstance(fact, facts.Placed)), None)
    arrived = next((fact for fact in log if isinstance(fact, facts.Arrived)), None)
    # a second accept is refused by Meta, a second connect rings
    granting = facts.ActionGranted if placed is None else (facts.ActionGranted, facts.OfferMade)
    return Remembered(
        may_be_granted=any(isinstance(fact, granting) for fact in log),
        answer_by_ms=placed.call_by_ms if placed else arrived.answer_by_ms if arrived else None,
        meta_id=next((fact.meta_id for fact in log if isinstance(fact, facts.ConnectAnswered)), ""),
        waits_for=(placed.page, placed.consumer) if placed and placed.ask_permission else None,
        may_have_asked=any(isinstance(fact, facts.PermissionRead) and fact.may_ask for fact in log),
        consumer=next((fact.consumer for fact in (placed, arrived) if fact is not None), ""),
    )
