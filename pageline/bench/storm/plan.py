"""What is to happen to each call of a storm: drawn from a seed before anything starts, so that a seed is a storm."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

PAGES: Final = ("106378625516323", "106378625516324", "106378625516325")


class Fate(StrEnum):
    """What consumer and handler make of a call. The handler reads it off the call's id."""

    DECLINED = "declined"  # the handler rejects it
    ANSWERED = "answered"  # the handler answers, and the consumer hangs up
    FORSAKEN = "forsaken"  # the handler answers, and the consumer is not heard of again
    GIVEN_UP = "given-up"  # the handler lets it ring, and the consumer gives up
    RUNG_OUT = "rung-out"  # the handler lets it ring, and nobody does anything
    RAISED = "raised"  # the handler fails
    ENDED_FIRST = "ended-first"  # the news of its end comes before that of its beginning
    ONLY_ENDED = "only-ended"  # the news of its beginning never comes


WEIGHTS: Final = {
    Fate.DECLINED: 38,
    Fate.ANSWERED: 28,
    Fate.FORSAKEN: 2,
    Fate.GIVEN_UP: 15,
    Fate.RUNG_OUT: 2,
    Fate.RAISED: 4,
    Fate.ENDED_FIRST: 9,
    Fate.ONLY_ENDED: 2,
}


class Plan(msgspec.Struct, frozen=True):
    """One call; times in seconds."""

    call_id: str
    page: str
    fate: Fate
    patience_s: float
    """How long the consumer waits before it hangs up, from ringing or from our `accept`."""
    media_versions: tuple[int, ...]
    """Versions of `media_update`, in the order in which they are sent."""
    status: str
    """What Meta says at the end."""
    odd: bool
    """Whether an event comes along that no page of Meta documents."""


def draw(calls: int, seed: int) -> Iterator[Plan]:
    """Yield the plans of a storm."""
    dice = random.Random(f"plans {seed}")
    fates = dice.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=calls)
    for number, fate in enumerate(fates):
        versions = dice.sample(range(1, 5), dice.choice((0, 0, 1, 2, 4))) if fate is Fate.ANSWERED else []
        yield Plan(
            call_id=f"c_storm_{seed}_{number}_{fate}",
            page=dice.choice(PAGES),
            fate=fate,
            patience_s=dice.uniform(0.0, 2.0) if fate is Fate.ANSWERED else dice.uniform(0.1, 5.0),
            media_versions=tuple(versions),
            status=dice.choice(("Completed", "Completed", "Failed")),
            odd=dice.random() < 0.02,
        )


def fate_of(call_id: str) -> Fate:
    """Return the fate a call's id names."""
    return Fate(call_id.rsplit("_", 1)[-1])
