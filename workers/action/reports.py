"""Tells Meta how calls went: a chore that queues what is due, and the job that reports one call.

Reports are the least urgent thing there is: they wait on the queue `bulk`, behind whatever rings, and while a Page's
limits at Graph are nearly used up they wait for that to pass. What cannot be told is given up with a line in the log;
it is no dead letter, and says nothing about whether calls can be answered.
"""

import asyncio
import contextlib
from enum import StrEnum
from typing import Final, NoReturn

from shared import actions, log
from shared.errors import RedisAway
from shared.meta.graph import GraphError
from shared.meta.metrics import Report, report_of
from shared.meta.remedy import remedy_for
from shared.owed import Owed
from shared.wire import patiently
from workers.action.desk import Desk
from workers.action.experience import note_usage, paused
from workers.action.verdict import Attempt, Sent, Verdict, is_about_the_token, is_unknown_path, judge

ACTION: Final = "call_metrics"
"""As it is counted among the actions, and the edge's name."""

LOOKED_AT_EVERY_S: Final = 2.0
QUEUED_AT_ONCE: Final = 20
TAKEN_FOR_MS: Final = 86_400_000
"""Meta takes a call's metrics within 24 hours of its end (calling/metrics)."""

SOON_MS: Final = 60_000
SELDOM_MS: Final = 3 * 3_600_000

INVALID_PARAMETER: Final = 100
NO_SUCH_EDGE: Final = frozenset({(2500, None), (100, 33)})
"""Graph's code and subcode: it does not know the path, or what is posted there is not supported."""

_log = log.get()


class Fate(StrEnum):
    """What became of a report; counted by this name."""

    TAKEN = "taken"
    ALREADY = "already_taken"
    LATER = "put_off"
    NO_EDGE = "unknown_edge"
    HOPELESS = "given_up"
    TOO_LATE = "too_late"
    NOTHING = "nothing_known"


_FATES: Final = {Verdict.SETTLED: Fate.TAKEN, Verdict.AGAIN: Fate.LATER, Verdict.HOPELESS: Fate.HOPELESS}


async def look_after(desk: Desk) -> NoReturn:
    """Queue reports as they fall due, a few at a time; any number of processes may do so at once."""
    owed = Owed(desk.bus.wire)
    while True:
        with contextlib.suppress(RedisAway):
            for call_id in await owed.due(desk.bus.now_ms(), most=QUEUED_AT_ONCE):
                await actions.report(desk.bus, call_id)
        await asyncio.sleep(LOOKED_AT_EVERY_S)


async def report(desk: Desk, call_id: str) -> str:
    """Report one call, if that is owed and due; what fails for now stays owed, and falls due later."""
    owed, now_ms = Owed(desk.bus.wire), desk.bus.now_ms()
    due_ms = await owed.due_ms(call_id)
    if due_ms is None or due_ms > now_ms:
        return "not due"
    try:
        fate, wait_ms = await _report(desk, owed, call_id, now_ms)
    except RedisAway:
        raise
    except Exception:  # noqa: BLE001 - a mistake of ours must not stand in the way of other calls' reports
        _log.exception("metrics.broke", call=call_id)
        fate, wait_ms = Fate.LATER, SELDOM_MS
    if fate is Fate.LATER:
        await patiently(lambda: owed.put_off(call_id, now_ms + wait_ms))
    else:
        await patiently(lambda: owed.settle(call_id))
    desk.tally.ended(ACTION, fate)
    return fate


async def _report(desk: Desk, owed: Owed, call_id: str, now_ms: int) -> tuple[Fate, int]:
    """Return what became of it, and for what was put off how long to wait, ms."""
    log = [entry.fact for entry in await desk.bus.read_log(call_id)]
    told = report_of(call_id, log, desk.metrics_spelling)
    if told is None:
        return Fate.NOTHING, 0
    if now_ms - told.ended_ms > TAKEN_FOR_MS:
        return Fate.TOO_LATE, 0
    if await owed.is_muted(told.page):
        return Fate.NO_EDGE, 0
    if paused_s := await paused(desk, told.page):
        return Fate.LATER, int(paused_s * 1000)
    token = desk.tokens.get(told.page)
    if token is None:
        return Fate.LATER, SELDOM_MS
    attempt, fate = await _post(desk, told, token)
    if fate is Fate.HOPELESS and attempt.error is not None and attempt.error.code == INVALID_PARAMETER:
        # UNKNOWN whether Meta takes a report without the figures that nobody measured; its table calls all required
        zeroed = report_of(call_id, log, desk.metrics_spelling, zeros=True)
        if zeroed is not None and zeroed != told:
            attempt, fate = await _post(desk, zeroed, token)
    _note(call_id, told.page, attempt, fate)
    if fate is Fate.NO_EDGE:
        await owed.mute(told.page)
    if is_about_the_token(attempt):
        desk.look_again()
        return fate, SELDOM_MS if desk.tokens.get(told.page, token) == token else SOON_MS
    return fate, _wait_ms(attempt, age_ms=now_ms - told.ended_ms)


async def _post(desk: Desk, told: Report, token: str) -> tuple[Attempt, Fate]:
    attempt = await desk.graph.request("POST", told.page, ACTION, token, body=told.body)
    if attempt.sent is Sent.REPLIED:
        desk.tally.replied(ACTION, attempt.took_ms)
    await note_usage(desk, told.page, attempt)
    return attempt, judge_report(attempt)


def judge_report(attempt: Attempt) -> Fate:
    """Say what Graph's reply means for a report. Meta lists conditions and no codes: phrases are looked at, UNKNOWN."""
    error = attempt.error or GraphError()
    said = error.message.lower()
    if "already" in said:
        return Fate.ALREADY
    if "in progress" in said or is_about_the_token(attempt):
        return Fate.LATER
    if is_unknown_path(attempt) or (error.code, error.error_subcode) in NO_SUCH_EDGE:
        return Fate.NO_EDGE
    return _FATES[judge(ACTION, attempt)]


def _wait_ms(attempt: Attempt, *, age_ms: int) -> int:
    """Return how long to wait: as long as Graph asks; else longer and longer, so that a day holds a dozen attempts."""
    asked_s = max(attempt.retry_after_s or 0.0, attempt.usage.regain_s if attempt.usage else 0.0)
    return max(int(asked_s * 1000), min(max(age_ms, SOON_MS), SELDOM_MS))


def _note(call_id: str, page: str, attempt: Attempt, fate: Fate) -> None:
    error = attempt.error or GraphError()
    say = _log.warning if fate in {Fate.HOPELESS, Fate.NO_EDGE} else _log.info
    say(
        "metrics.reported" if fate in {Fate.TAKEN, Fate.ALREADY} else "metrics.not_reported",
        call=call_id,
        page=page,
        fate=fate,
        status=attempt.status,
        code=error.code,
        subcode=error.error_subcode,
        fbtrace_id=error.fbtrace_id,
        because=error.message or attempt.trouble or None,
        remedy=(remedy_for(attempt.error) or None) if fate is Fate.HOPELESS else None,
        took_ms=attempt.took_ms,
    )
