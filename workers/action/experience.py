"""What an attempt at Graph says about the Page: noted for the breaker. Notes may get lost; nothing waits for them."""

import asyncio
from typing import Final

from shared import log
from shared.errors import RedisAway
from workers.action.desk import Desk
from workers.action.verdict import Attempt, is_about_this_call, is_throttled

CROWDED_FOR_S: Final = 300.0
"""High usage is shown for so long after the reply that told of it, or until access returns."""

PAUSE_S: Final = 60.0
"""Near a limit, and where Graph does not say when access returns, what may wait is tried once in so long."""


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
    """Note that a limit of Graph's is nearly used up, or more than that, where the reply says so."""
    usage = attempt.usage if attempt.usage and attempt.usage.is_high else None
    if usage is None and not is_throttled(attempt):
        return
    regain_s = max(attempt.retry_after_s or 0.0, usage.regain_s if usage else 0.0)
    steps = [desk.breaker.pause(page, for_s=regain_s or PAUSE_S)]
    if usage is not None:
        returns = f"; access returns in about {usage.regain_s / 60:.0f} min" if usage.regain_s else ""
        meanwhile = "Whoever calls is answered all the same; no call is placed for a while."
        because = f"{usage.of} is at {usage.percent:g} %{returns}. {meanwhile}"
        steps.append(desk.breaker.crowded(page, usage.percent, because, for_s=max(CROWDED_FOR_S, usage.regain_s)))
    try:
        await asyncio.gather(*steps)
    except RedisAway as away:
        _log.warning("breaker.not_told", page=page, because=str(away))


async def paused(desk: Desk, page: str) -> float:
    """Return for how long what may wait has to, s; without Redis there is no telling, and Graph tells by itself."""
    try:
        return await desk.breaker.paused_s(page)
    except RedisAway:
        return 0.0
