"""What the action worker can do: `act` on a call at Graph, `forward` a webhook. Outcomes return as facts.

Arguments are ids, epoch and deadline only; an SDP is read from the call's log. The same job may run again after its
worker died: `fence` tells, and what it may then do is decided by the accept rule of the design (`errand.py`).
"""

import functools
from typing import Final

import httpx
import stamina

from shared import actions, log
from shared.calls import facts
from shared.calls.ending import FAREWELL_USEFUL_MS
from shared.dead import Letter, Trial
from shared.errors import RedisAway, RedisForgot
from shared.outward import UrlRefused
from shared.wire import patiently
from workers.action import outcome
from workers.action.desk import Desk
from workers.action.errand import Errand, GivenUp, OutOfOffice
from workers.action.experience import note_failure, note_success, note_usage, paused
from workers.action.verdict import MEDIA, Verdict, is_asked_too_often, is_over, is_unknown_path

__all__ = ["Desk", "act", "forward", "pass_on"]

FORWARD_FOR_S: Final = 45
PLACING: Final = frozenset({"check_permission", "optin", "connect"})
"""Actions for a call that somebody wants placed."""

RESTORED_WITHIN_MS: Final = 15_000
"""A call that Redis forgot is written into it again by whoever owns it; after this, nobody does."""

_log = log.get()


async def act(desk: Desk, call_id: str, page: str, action: str, epoch: int, deadline_ms: int, number: int = 0) -> str:
    """Send one Graph action for a call, again while that can help and time allows, and report what came of it.

    Near a limit of Graph's no call is placed, so that what is left of it is there for who calls us.
    """
    errand = Errand(desk, call_id, page, action, epoch, deadline_ms, number=number)
    if action == "check_permission" and (paused_s := await paused(desk, page)):
        return await _give_up(errand, GivenUp(None, "limited", outcome.limited(page, paused_s)))
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
    fact = outcome.settled(errand, attempt)
    await (_adopt(errand, fact) if isinstance(fact, facts.ConnectAnswered) else _report(errand, fact))
    desk.tally.ended(action, errand.verdict)
    await note_success(desk, page, attempt)
    return "settled"


async def _give_up(errand: Errand, end: GivenUp) -> str:
    desk, page = errand.desk, errand.page
    _log.warning("action.given_up", call=errand.call_id, action=errand.action, cause=end.cause)
    if errand.action == "check_permission" and is_unknown_path(end.attempt):
        # a Graph without that edge: `connect` itself will tell
        known = facts.PermissionRead(status="unknown", may_call=True, may_ask=True, epoch=errand.epoch)
        await _report(errand, known)
        return "settled"
    error = end.attempt and end.attempt.error
    # who hung up before our answer came has lost nothing; what our own farewell barred is in the log, and who wanted a
    # call placed is told there
    if errand.action not in PLACING | MEDIA and end.cause != "refused" and not (error and is_over(error)):
        await patiently(lambda: desk.bus.bury(outcome.letter(errand, end)))
    failed = outcome.failed(errand, end)
    await _report(errand, failed)
    desk.tally.ended(errand.action, errand.verdict)
    if errand.action not in PLACING | MEDIA:  # these say nothing about the Page
        await note_failure(desk, page, end.attempt, cause=end.cause, because=outcome.explanation(errand, end))
    elif end.attempt is not None and not (errand.action == "optin" and is_asked_too_often(end.attempt)):
        await note_usage(desk, page, end.attempt)
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


async def _adopt(errand: Errand, answered: facts.ConnectAnswered) -> None:
    """Bind the call to Meta's id; one that nobody has any more is to be ended."""
    desk = errand.desk

    async def adopt() -> str:
        try:
            return (await desk.outbound.adopt(errand.call_id, answered)).verdict
        except RedisForgot:
            if desk.bus.now_ms() < errand.deadline_ms + RESTORED_WITHIN_MS:
                raise
            return "forgotten"

    verdict = await patiently(adopt)
    if verdict in ("closed", "other", "forgotten"):
        _log.error("action.answered_too_late", call=errand.call_id, action=errand.action, because=verdict)
        deadline_ms = desk.bus.now_ms() + FAREWELL_USEFUL_MS
        end = functools.partial(actions.post, desk.bus, call_id=answered.meta_id, page=errand.page, action="terminate")
        await patiently(lambda: end(epoch=0, deadline_ms=deadline_ms))
    if verdict == "other":  # ours has nothing to wait for
        await _report(errand, outcome.failed(errand, GivenUp(None, "graph", "Meta's id of it is another call's.")))


async def forward(desk: Desk, digest: str) -> str:
    """Pass a webhook body with other fields on to WEBHOOK_FORWARD_URL, as it came, signature included."""
    stashed = await desk.bus.stashed(digest)
    if stashed is None or not desk.forward_url:
        return "nothing to forward"
    letter = await pass_on(desk, *stashed)
    if letter is not None:
        await patiently(lambda: desk.bus.bury(letter))
    await patiently(lambda: desk.bus.passed_on(digest, ttl_s=actions.FORWARD_KEPT_S))
    return "forwarded" if letter is None else f"not forwarded: {letter.detail}"


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
    except UrlRefused as refused:
        because = str(refused)
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
