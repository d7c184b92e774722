"""How many calls a stack holds: more and more, until somebody would notice."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pageline.bench.media.probe import Probe

GROWS: Final = 1.25
NARROWED_TO: Final = 0.08
"""Of the number held; a finer answer would be the machine's mood."""
ADDED_PER_S: Final = 8.0
"""A worker near its limit is not to fail over the ringing of those who are added."""


class Search(NamedTuple):
    """Where to begin, and after how many looks to stop."""

    first: int
    looks: int


SEARCHES: Final = {
    "answer": Search(60, 8),
    "forward": Search(300, 8),
    "bridge": Search(300, 6),
    "listen": Search(400, 8),
}
"""Of our modes."""


def next_to_try(first: int, held: int, failed: int | None) -> int | None:
    """Return the number of calls to try, given the most that was held (0: none yet) and the fewest that was not.

    It is even, because bridged calls come in pairs; none when the answer is known well enough.
    """
    if failed is None:
        return max(held + 2, _even(held * GROWS)) if held else _even(first)
    if failed - held <= max(2, held * NARROWED_TO):
        return None
    return _even((held + failed) / 2)


def _even(number: float) -> int:
    return max(2, round(number / 2) * 2)


def most(
    ready: Probe, first: int, *, seconds: float, looks: int, looked: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Return every look in order, the last one that was held, and the fewest calls that were not held.

    A number has failed when two looks in a row failed: one may have met a busy minute of the machine's.
    """
    taken: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    failed: int | None = None
    while len(taken) < looks and (target := next_to_try(first, best["calls"] if best else 0, failed)) is not None:
        bring_to(ready, target, fresh=not taken)
        for _ in range(2):
            taken.append(look := ready.look(target, seconds))
            looked()
            if look["all_held"]:
                best = look
                break
        else:
            failed = target
    return {"held": best["calls"] if best else 0, "at": best, "failed_at": failed, "looks": taken}


def bring_to(ready: Probe, target: int, *, fresh: bool) -> None:
    """Let calls come or go until so many are up; who was refused tries once more."""
    for _ in range(2):
        up = ready.up()
        if up > target:
            ready.load.hang_up(up - target)
        if up < target:
            ready.ring(target - up, **({} if fresh else {"per_s": ADDED_PER_S}))
