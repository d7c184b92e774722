"""What the action worker can do: `act` on a call at Graph, `forward` a webhook. Outcomes return as facts.

Arguments are ids, epoch and deadline only; an SDP is read from the call's log. The same job may run again after its
worker died: `fence` tells, and what it may then do is decided here by the accept rule of the design.
"""

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Final

import httpx
import stamina

from shared import log
from shared.actions import job_id_of
from shared.bus import Bus, Fenced
from shared.calls import facts
from shared.errors import RedisAway
from shared.meta.graph import GraphError
from shared.wire import patiently
from workers.action.graph import Graph
from workers.action.verdict import Attempt, Sent, Verdict, is_ambiguous, is_throttled, judge

FORWARD_FOR_S: Final = 45
THROTTLED_WAIT_S: Final = 2.0


@dataclass
class Desk:
    """What every job works with; one per action worker."""

    bus: Bus
    graph: Graph
    tokens: dict[str, str]
    forward_url: str = ""


_log = log.get()


class _TryAgain(Exception):
    """The attempt did not succeed and another may."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.trouble or f"HTTP {attempt.status}")
        self.attempt = attempt


class _Hopeless(Exception):
    """No attempt will succeed."""

    def __init__(self, attempt: Attempt | None, cause: str) -> None:
        super().__init__(cause)
        self.attempt = attempt
        self.cause = cause


class _OutOfOffice(Exception):
    """Another epoch owns the call, and does what is needed."""


async def act(desk: Desk, call_id: str, page: str, action: str, epoch: int, deadline_ms: int) -> str:
    """Send one Graph action for a call, again while that can help and time allows, and report what came of it."""
    token = desk.tokens.get(page)
    errand = _Errand(desk, call_id, page, action, epoch, deadline_ms, token or "")
    try:
        if token is None:
            raise _Hopeless(None, "no_token")
        attempt = await errand.run()
    except _OutOfOffice:
        _log.info("action.dropped", call=call_id, action=action, epoch=epoch, because="another epoch owns the call")
        return "stale"
    except (_Hopeless, _TryAgain) as end:
        await errand.report_failure(end)
        return "failed"
    except RedisAway:
        await errand.report_failure(_Hopeless(None, "redis_away"))
        return "failed"
    await errand.report_success(attempt)
    return "settled"


@dataclass
class _Errand:
    """One action on its way."""

    desk: Desk
    call_id: str
    page: str
    action: str
    epoch: int
    deadline_ms: int
    token: str
    offer: str | None = None
    attempts: int = 0
    ambiguous: bool = False
    last: Attempt | None = None

    async def run(self) -> Attempt:
        retries = stamina.retry_context(
            on=self._pause_before_next,
            attempts=None,
            timeout=None,  # the deadline is the server's time, and ends it below
            wait_initial=0.15,
            wait_max=2.0 if self.action == "accept" else 10.0,
            wait_jitter=0.15,
        )
        async for trial in retries:
            with trial:
                return await self._attempt()
        raise AssertionError("stamina ends by returning or raising")

    async def _attempt(self) -> Attempt:
        """Ask whether we may, send once, and judge."""
        if self.desk.bus.now_ms() >= self.deadline_ms:
            raise _Hopeless(None, "too_late") if self.last is None else _TryAgain(self.last)
        await asyncio.gather(self._pass_fence(), self._read_offer())  # one round trip
        probing = self.ambiguous and self.action == "accept"
        self.attempts += 1
        attempt = await self.desk.graph.act(self.page, self.token, self.action, self.call_id, offer=self.offer)
        self.last = attempt
        verdict = judge(self.action, attempt, probing=probing)
        error = attempt.error or GraphError()
        _log.info(
            "action.attempted",
            call=self.call_id,
            action=self.action,
            epoch=self.epoch,
            attempt=self.attempts,
            verdict=verdict,
            status=attempt.status,
            code=error.code,
            subcode=error.error_subcode,
            fbtrace_id=error.fbtrace_id,
            trouble=attempt.trouble or None,
            took_ms=attempt.took_ms,
        )
        self.ambiguous |= is_ambiguous(self.action, attempt)
        match verdict:
            case Verdict.SETTLED:
                return attempt
            case Verdict.AGAIN:
                raise _TryAgain(attempt)
            case Verdict.HOPELESS:
                raise _Hopeless(attempt, "unreachable" if attempt.sent is not Sent.REPLIED else "graph")

    def _pause_before_next(self, error: Exception) -> bool | float | dt.timedelta:
        """Tell stamina whether to go on, and how long to wait where Graph said so and there is time for it."""
        if self.desk.bus.now_ms() >= self.deadline_ms:
            return False
        if not isinstance(error, _TryAgain):
            return isinstance(error, RedisAway)
        pause_s = error.attempt.retry_after_s
        if pause_s is None and is_throttled(error.attempt.error):
            pause_s = THROTTLED_WAIT_S
        if pause_s is None:
            return True
        return pause_s if self.desk.bus.now_ms() + pause_s * 1000 < self.deadline_ms else False

    async def _read_offer(self) -> None:
        if self.action != "accept" or self.offer is not None:
            return
        offer = await self.desk.bus.read_fact(self.call_id, facts.OfferMade, epoch=self.epoch)
        if not isinstance(offer, facts.OfferMade):
            raise _OutOfOffice
        self.offer = offer.sdp

    async def _pass_fence(self) -> None:
        first = self.attempts == 0
        probe = self.ambiguous and self.action == "accept"
        fenced = await self._fence(probe=probe)
        if fenced is Fenced.AGAIN and first and not probe:
            self.ambiguous = True  # granted to this job before: its worker died, perhaps after sending
            fenced = await self._fence(probe=True)
        if fenced is Fenced.STALE:
            raise _OutOfOffice
        if fenced is Fenced.REFUSED:
            raise _Hopeless(None, "refused")

    async def _fence(self, *, probe: bool) -> Fenced:
        token = job_id_of(self.action, self.call_id, self.epoch)
        return await self.desk.bus.fence(self.call_id, self.epoch, self.action, token, probe=probe)

    async def report_success(self, attempt: Attempt) -> None:
        reply = attempt.reply
        if self.action == "accept" and reply is not None and reply.answer is not None:
            fact: facts.Fact = facts.AnswerReceived(
                sdp=reply.answer, renegotiation=reply.renegotiation, graph_ms=attempt.took_ms, epoch=self.epoch
            )
        else:
            fact = facts.ActionSettled(
                action=self.action, graph_ms=attempt.took_ms, attempts=self.attempts, epoch=self.epoch
            )
        await self._report(fact)

    async def report_failure(self, end: _Hopeless | _TryAgain) -> None:
        attempt = end.attempt
        error = (attempt and attempt.error) or GraphError()
        cause = end.cause if isinstance(end, _Hopeless) else "graph" if error.code else "unreachable"
        failed = facts.ActionFailed(
            action=self.action,
            cause=cause,
            message=_explain(cause, self.page, attempt),
            code=error.code,
            subcode=error.error_subcode,
            fbtrace_id=error.fbtrace_id,
            status=attempt and attempt.status,
            attempts=self.attempts,
            ambiguous=self.ambiguous,
            epoch=self.epoch,
        )
        _log.warning("action.given_up", call=self.call_id, action=self.action, cause=cause)
        await self._bury(failed)
        await self._report(failed)

    async def _bury(self, failed: facts.ActionFailed) -> None:
        why = "no_page_token" if failed.cause == "no_token" else f"action_{failed.cause}"
        detail = f"{self.action} for Page {self.page}: {failed.message}"
        await patiently(lambda: self.desk.bus.bury(why, call_id=self.call_id, detail=detail))

    async def _report(self, fact: facts.Fact) -> None:
        identity = f"{self.action}:{self.epoch}"
        await patiently(lambda: self.desk.bus.route(self.call_id, fact, identity=identity))


async def forward(desk: Desk, digest: str) -> str:
    """Pass a webhook body with other fields on to WEBHOOK_FORWARD_URL, as it came, signature included."""
    stashed = await desk.bus.stashed(digest)
    if stashed is None or not desk.forward_url:
        return "nothing to forward"
    body, signature = stashed
    try:
        status = await _passed_on(desk, body, signature)
        because = "" if 200 <= status < 300 else f"WEBHOOK_FORWARD_URL answered {status}"
    except httpx.HTTPError as error:
        because = f"WEBHOOK_FORWARD_URL could not be reached: {error!r}"
    if because:
        await patiently(lambda: desk.bus.bury("not_forwarded", body=body, detail=because))
        return f"not forwarded: {because}"
    return "forwarded"


async def _passed_on(desk: Desk, body: bytes, signature: bytes) -> int:
    async for trial in stamina.retry_context(on=httpx.HTTPError, attempts=None, timeout=FORWARD_FOR_S):
        with trial:
            status = await desk.graph.pass_on(desk.forward_url, body, signature)
            if status >= 500:
                raise httpx.HTTPError(f"HTTP {status}")
            return status
    raise AssertionError("stamina ends by returning or raising")


def _explain(cause: str, page: str, attempt: Attempt | None) -> str:
    match cause:
        case "no_token":
            return f"Page {page} has no access token. Add it to PAGE_TOKENS or PAGES_FILE."
        case "too_late":
            return "The action's time was up before it could be sent."
        case "refused":
            return "An accept was granted before; a second one is never sent."
        case _ if attempt is not None and attempt.error is not None:
            return attempt.error.message
        case _ if attempt is not None:
            return attempt.trouble or f"Graph answered HTTP {attempt.status} without an error envelope."
        case _:
            return cause
