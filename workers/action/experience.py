"""What an attempt at Graph says about the Page: noted for the breaker. Notes may get lost; nothing waits for them."""

from typing import Final

from shared import log
from shared.errors import RedisAway
from workers.action.desk import Desk
from workers.action.verdict import Attempt, is_about_this_call

CROWDED_FOR_S: Final = 300.0
"""High usage is shown for so long after the reply that told of it, or until access returns."""

GRAPHS_DOING: Final = frozenset({"graph", "unreachable", "no_token"})
"""Causes that count against a Page; the others are our own."""

_log = log.get()


async def note_success(desk: Desk, page: str, attempt: Attempt) -> None:
    """Close the Page's breaker; that a call is over already, Graph says to anybody."""
    try:
        if attempt.error is None:
            await desk.breaker.succeeded(page)
    except RedisAway as away:
        _log.warning("breaker.not_told", page=page, because=str(away))
    await note_usage(desk, page, attempt)


async def note_failure(desk: Desk, page: str, attempt: Attempt | None, *, cause: str, because: str) -> None:
    """Count an action that was given up, unless that is this one call's fault or ours."""
    error = attempt and attempt.error
    try:
        if cause in GRAPHS_DOING and not (error and is_about_this_call(error)):
            await desk.breaker.refused(page, because)
    except RedisAway as away:
        _log.warning("breaker.not_told", page=page, because=str(away))
    if attempt is not None:
        await note_usage(desk, page, attempt)


async def note_usage(desk: Desk, page: str, attempt: Attempt) -> None:
    """Note that a limit of Graph's is nearly used up, where the reply says so."""
    usage = attempt.usage
    if usage is None or not usage.is_high:
        return
    returns = f"; access returns in about {usage.regain_s / 60:.0f} min" if usage.regain_s else ""
    because = f"{usage.of} is at {usage.percent:g} %{returns}. Calls are tried all the same; fewer would help."
    try:
        await desk.breaker.crowded(page, usage.percent, because, for_s=max(CROWDED_FOR_S, usage.regain_s))
    except RedisAway as away:
        _log.warning("breaker.not_told", page=page, because=str(away))
