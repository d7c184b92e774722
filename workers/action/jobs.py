"""What the action worker can do: `act` on a call at Graph, `forward` a webhook. Outcomes return as facts.

Arguments are ids, epoch and deadline only; an SDP is read from the call's log. The same job may run again after its
worker died: `fence` tells, and what it may then do is decided by the accept rule of the design (`errand.py`).
"""

from typing import Final

import httpx
import stamina

from shared import log
from shared.calls import facts
from shared.dead import Letter, Trial
from shared.errors import RedisAway, RedisForgot
from shared.wire import patiently
from workers.action import outcome
from workers.action.desk import Desk
from workers.action.errand import Errand, GivenUp, OutOfOffice
from workers.action.experience import note_failure, note_success
from workers.action.verdict import MEDIA, Verdict, is_over

__all__ = ["Desk", "act", "forward", "pass_on"]

FORWARD_FOR_S: Final = 45
RESTORED_WITHIN_MS: Final = 15_000
"""A call that Redis forgot is written into it again by whoever owns it; after this, nobody does."""

_log = log.get()


async def act(desk: Desk, call_id: str, page: str, action: str, epoch: int, deadline_ms: int, number: int = 0) -> str:
    """Send one Graph action for a call, again while that can help and time allows, and report what came of it."""
    errand = Errand(desk, call_id, page, action, epoch, deadline_ms, number=number)
    try:
        attempt = await errand.run()
    except OutOfOffice:
        _log.info("action.dropped", call=call_id, action=action, epoch=epoch, because="done, or another epoch's")
        desk.tally.ended(action, "stale")
        return "stale"
    except GivenUp as end:
        return await _give_up(errand, end)
    except RedisAway:
        return await _give_up(errand, GivenUp(None, "redis_away"))
    await _report(errand, outcome.settled(errand, attempt))
    desk.tally.ended(action, errand.verdict)
    await note_success(desk, page, attempt)
    return "settled"


async def _give_up(errand: Errand, end: GivenUp) -> str:
    desk, page = errand.desk, errand.page
    _log.warning("action.given_up", call=errand.call_id, action=errand.action, cause=end.cause)
    error = end.attempt and end.attempt.error
    # who hung up before our answer came has lost nothing; what our own farewell barred is in the log
    if end.cause != "refused" and not (error and is_over(error)) and errand.action not in MEDIA:
        await patiently(lambda: desk.bus.bury(outcome.letter(errand, end)))
    await _report(errand, outcome.failed(errand, end))
    desk.tally.ended(errand.action, errand.verdict)
    await note_failure(desk, page, end.attempt, cause=end.cause, because=outcome.explanation(errand, end))
    return "failed"


async def _report(errand: Errand, fact: facts.Fact) -> None:
    identity = f"{errand.action}:{errand.epoch}" + (f":{errand.number}" if errand.number else "")

    async def say() -> None:
        try:
            await errand.desk.bus.route(errand.call_id, fact, identity=identity)
        except RedisForgot:
            if errand.desk.bus.now_ms() < errand.deadline_ms + RESTORED_WITHIN_MS:
                raise
            _log.error("action.unreported", call=errand.call_id, action=errand.action, because="Redis was emptied")

    await patiently(say)


async def forward(desk: Desk, digest: str) -> str:
    """Pass a webhook body with other fields on to WEBHOOK_FORWARD_URL, as it came, signature included."""
    stashed = await desk.bus.stashed(digest)
    if stashed is None or not desk.forward_url:
        return "nothing to forward"
    letter = await pass_on(desk, *stashed)
    if letter is None:
        return "forwarded"
    await patiently(lambda: desk.bus.bury(letter))
    return f"not forwarded: {letter.detail}"


async def pass_on(desk: Desk, body: bytes, signature: bytes) -> Letter | None:
    """Post a webhook body to WEBHOOK_FORWARD_URL until it is taken; what is not becomes a letter, not yet buried."""
    trials: list[Trial] = []
    try:
        async for trial in stamina.retry_context(on=httpx.HTTPError, attempts=None, timeout=FORWARD_FOR_S):
            with trial:
                status = await _pass_on_once(desk, body, signature, trials)
                if 200 <= status < 300:
                    return None
                because = f"WEBHOOK_FORWARD_URL answered {status}"
    except httpx.HTTPError as error:
        because = f"WEBHOOK_FORWARD_URL could not be reached: {error!r}"
    return Letter(why="not_forwarded", detail=because, body=body, signature=signature, attempts=tuple(trials))


async def _pass_on_once(desk: Desk, body: bytes, signature: bytes, trials: list[Trial]) -> int:
    at_ms = desk.bus.now_ms()
    try:
        status = await desk.graph.pass_on(desk.forward_url, body, signature)
    except httpx.HTTPError as error:
        trials.append(Trial(at_ms=at_ms, verdict=Verdict.AGAIN, trouble=repr(error)))
        raise
    verdict = Verdict.AGAIN if status >= 500 else Verdict.SETTLED if 200 <= status < 300 else Verdict.HOPELESS
    trials.append(Trial(at_ms=at_ms, verdict=verdict, status=status))
    if verdict is Verdict.AGAIN:
        raise httpx.HTTPError(f"HTTP {status}")
    return status
