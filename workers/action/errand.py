"""One Graph action on its way: past the fence, sent, judged, and sent again while that can help and time allows.

Graph may ask for the pause before the next try, by `Retry-After` or as the time until access returns; otherwise pauses
grow. The first try is never delayed. A farewell that would have to wait beyond its deadline is tried once more just
before it.
"""

import asyncio
import datetime as dt
from typing import Final

import stamina

from shared import log
from shared.actions import job_id_of
from shared.bus import Fenced
from shared.calls.changing import CONFLICT
from shared.calls.ending import FAREWELLS
from shared.dead import Trial
from shared.errors import RedisAway
from shared.meta.graph import GraphError
from shared.wire import patiently
from workers.action.desk import Desk
from workers.action.experience import note_usage
from workers.action.request import Request, change_for, needs_the_log, request_for
from workers.action.verdict import (
    MEDIA,
    ONCE_ONLY,
    Attempt,
    Sent,
    Verdict,
    is_about_the_token,
    is_ambiguous,
    is_conflict,
    is_throttled,
    judge,
)

THROTTLED_WAIT_S: Final = 2.0
DIED_WITH_IT: Final = "Its worker, or the call's owner, was lost with it, and nobody knows whether it was sent."
LAST_TRY_S: Final = 6.0
"""So long before its deadline a farewell is tried at the latest."""

_log = log.get()


class TryAgain(Exception):
    """The attempt did not succeed and another may."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.trouble or f"HTTP {attempt.status}")
        self.attempt = attempt


class GivenUp(Exception):
    """No attempt will succeed, or there is no time for one; `cause` as in `facts.ActionFailed`."""

    def __init__(self, attempt: Attempt | None, cause: str, message: str = "") -> None:
        super().__init__(cause)
        self.attempt = attempt
        self.cause = cause
        self.message = message or cause


class OutOfOffice(Exception):
    """Another epoch owns the call, and does what is needed."""


class Errand:
    """One action; `trials` is every request that was made for it.

    An operator's retry is not fenced: it can only be a farewell, for a call of which nothing but an ending is left.
    """

    def __init__(
        self,
        desk: Desk,
        call_id: str,
        page: str,
        action: str,
        epoch: int,
        deadline_ms: int,
        *,
        number: int = 0,
        fenced: bool = True,
    ) -> None:
        self.desk = desk
        self.call_id = call_id
        self.page = page
        self.action = action
        self.epoch = epoch
        self.deadline_ms = deadline_ms
        self.number = number
        self.ambiguous = False
        self.trials: list[Trial] = []
        self._fenced = fenced
        self.granted = False
        """The fence let it through."""
        self.request: Request | None = None
        """What is sent."""
        self._last: Attempt | None = None

    async def run(self) -> Attempt:
        """Return the attempt that settled it.

        What is sent once only may have been sent by a worker that died: no time left does not mean that it was not.

        Raises:
            GivenUp: it will not succeed.
            OutOfOffice: it is somebody else's now.
            RedisAway: there was no asking for leave in all the time there was.
        """
        try:
            return await self._run()
        except (GivenUp, RedisAway) as end:
            asked = self.trials or (isinstance(end, GivenUp) and end.cause not in {"too_late", "no_token"})
            if self.action in ONCE_ONLY and not asked:
                self._was_granted(await patiently(lambda: self._fence(probe=True)))
                if self.granted:
                    await self._made()
                    raise GivenUp(None, "unreachable", DIED_WITH_IT) from end
            raise

    async def _run(self) -> Attempt:
        retries = stamina.retry_context(
            on=self._pause_before_next,
            attempts=None,
            timeout=None,
            wait_initial=0.15,
            wait_max=2.0 if self.action == "accept" else 20.0,
            wait_jitter=0.15,
        )
        try:
            async for trial in retries:
                with trial:
                    return await self._attempt()
        except TryAgain as end:
            raise GivenUp(end.attempt, "graph" if (end.attempt.error or GraphError()).code else "unreachable") from end
        except (GivenUp, OutOfOffice, RedisAway):
            raise
        except Exception as error:  # a mistake of ours, which RQ would repeat at once, again and again
            _log.exception("action.broke", call=self.call_id, action=self.action)
            self.ambiguous = True
            raise GivenUp(None, "broken", f"pageline made a mistake, the log shows it: {error!r}") from error
        raise AssertionError("stamina ends by returning or raising")

    @property
    def verdict(self) -> Verdict:
        """Return the last word so far."""
        return Verdict(self.trials[-1].verdict) if self.trials else Verdict.HOPELESS

    def _left_s(self) -> float:
        return (self.deadline_ms - self.desk.bus.now_ms()) / 1000

    async def _attempt(self) -> Attempt:
        """Ask whether we may, send once, and judge."""
        token = self.desk.tokens.get(self.page)
        if token is None:
            raise GivenUp(None, "no_token")
        if self._left_s() <= 0:
            raise GivenUp(None, "too_late") if self._last is None else TryAgain(self._last)
        _, request = await asyncio.gather(self._pass_fence(), self._made())  # one round trip
        probing = self.ambiguous and self.action == "accept"
        at_ms = self.desk.bus.now_ms()
        attempt = await self.desk.graph.request(
            request.method, self.page, request.edge, token, body=request.body, params=request.params
        )
        self._last = attempt
        if is_conflict(self.action, attempt, offered=request.offers):
            self._note(at_ms, attempt, Verdict.HOPELESS)
            raise GivenUp(attempt, CONFLICT, "Meta's media has another version than ours")
        verdict = judge(self.action, attempt, probing=probing)
        if verdict is Verdict.HOPELESS and is_about_the_token(attempt) and self._has_another_token_than(token):
            verdict = Verdict.AGAIN
        self._note(at_ms, attempt, verdict)
        self.ambiguous |= is_ambiguous(self.action, attempt)
        match verdict:
            case Verdict.SETTLED:
                return attempt
            case Verdict.AGAIN:
                await note_usage(self.desk, self.page, attempt)
                raise TryAgain(attempt)
            case Verdict.HOPELESS:
                raise GivenUp(attempt, "unreachable" if attempt.sent is not Sent.REPLIED else "graph")

    def _has_another_token_than(self, token: str) -> bool:
        """Tell whether the Page's token was renewed meanwhile, perhaps this very second."""
        self.desk.look_again()
        return self.desk.tokens.get(self.page, token) != token

    def _note(self, at_ms: int, attempt: Attempt, verdict: Verdict) -> None:
        error = attempt.error or GraphError()
        trial = Trial(
            at_ms=at_ms,
            verdict=verdict,
            status=attempt.status,
            code=error.code,
            subcode=error.error_subcode,
            fbtrace_id=error.fbtrace_id,
            trouble=attempt.trouble,
            took_ms=attempt.took_ms,
        )
        self.trials.append(trial)
        if attempt.sent is Sent.REPLIED:
            self.desk.tally.replied(self.action, attempt.took_ms)
        _log.info(
            "action.attempted",
            call=self.call_id,
            action=self.action,
            epoch=self.epoch,
            attempt=len(self.trials),
            verdict=verdict,
            status=attempt.status,
            code=error.code,
            subcode=error.error_subcode,
            fbtrace_id=attempt.fbtrace_id,
            trouble=attempt.trouble or None,
            usage_percent=attempt.usage and attempt.usage.percent,
            took_ms=attempt.took_ms,
        )

    def _pause_before_next(self, error: Exception) -> bool | float | dt.timedelta:
        """Tell stamina whether to go on, and how long to wait where Graph said so."""
        left_s = self._left_s()
        if left_s <= 0 or not isinstance(error, TryAgain | RedisAway):
            return False
        pause_s = _asked_for_s(error.attempt) if isinstance(error, TryAgain) else None
        if pause_s is None:
            return True
        if pause_s < left_s:
            return pause_s
        return left_s - LAST_TRY_S if self.action in FAREWELLS and left_s > LAST_TRY_S else False

    async def _made(self) -> Request:
        """Return the request, made of the log where its id alone does not tell it."""
        if self.action in MEDIA:
            told = await self.desk.bus.read_log(self.call_id)
            self.request = change_for(self.action, self.call_id, self.epoch, told, self.desk.media_version_start)
        elif self.request is None:
            wanted = needs_the_log(self.action, self.call_id)
            log = await self.desk.bus.read_log(self.call_id) if wanted else ()
            self.request = request_for(self.action, self.call_id, self.epoch, log)
        if self.request is None:
            raise OutOfOffice
        return self.request

    async def _pass_fence(self) -> None:
        if not self._fenced:
            return
        first = not self.trials
        probe = self.ambiguous and self.action == "accept"
        fenced = await self._fence(probe=probe)
        if first and not probe:
            self._was_granted(fenced)
        if fenced is Fenced.ORPHANED or (self.ambiguous and self.action in ONCE_ONLY):
            await self._made()  # goes no further where it was reported before
            raise GivenUp(self._last, "unreachable", DIED_WITH_IT)
        if fenced is Fenced.AGAIN and first and not probe:
            fenced = await self._fence(probe=True)
        if fenced is Fenced.STALE:
            raise OutOfOffice
        if fenced is Fenced.REFUSED:
            raise GivenUp(None, "refused")
        self.granted = True

    def _was_granted(self, fenced: Fenced) -> None:
        """Note whether it was granted to this job before: its worker died, perhaps after sending."""
        if fenced in (Fenced.AGAIN, Fenced.ORPHANED):
            self.ambiguous = self.granted = True

    async def _fence(self, *, probe: bool) -> Fenced:
        token = job_id_of(self.action, self.call_id, self.epoch, self.number)
        return await self.desk.bus.fence(self.call_id, self.epoch, self.action, token, probe=probe)


def _asked_for_s(attempt: Attempt) -> float | None:
    """Return how long Graph wants us to wait, or none where it does not say."""
    if not is_throttled(attempt):
        return attempt.retry_after_s
    asked_s = max(attempt.retry_after_s or 0.0, attempt.usage.regain_s if attempt.usage else 0.0)
    return asked_s or (THROTTLED_WAIT_S if attempt.retry_after_s is None else 0.0)
