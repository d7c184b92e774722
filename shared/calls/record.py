"""The record of a call that has ended: one row of what is worth keeping, folded from its log. Pure.

Its fields are a contract (docs/records.md): names are added, and `version` is raised where one changes its meaning.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from shared.calls import facts, quality
from shared.calls.state import Phase
from shared.calls.summary import Folded, fold
from shared.calls.why import why
from shared.pseudonyms import pseudonym

VERSION: Final = 1

PATHS_OF: Final = (facts.RecordingStarted, facts.RecordingStored)
"""Facts that tell where a recording is."""


class Sounded(msgspec.Struct, frozen=True, kw_only=True):
    """How it sounded; see `quality`. A figure is none where there was nothing to measure by."""

    mos_estimate: float | None = None
    sent_mos_estimate: float | None = None
    lost_percent: float | None = None
    peer_lost_percent: float | None = None
    concealed_percent: float | None = None
    jitter_ms: float | None = None
    round_trip_ms: float | None = None
    first_packet_ms: float | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One call, from `connect` (or our request to place it) to its end."""

    version: int = VERSION
    call_id: str
    """Ours; there is one record for each, however often it is delivered."""
    meta_id: str | None
    page: str
    consumer: str
    """A pseudonym, the same one as in the logs; "" where nobody told who it was."""
    psid: str | None
    """The consumer's id for the Page, where that is wanted."""
    direction: str
    """`user_initiated` or `business_initiated`; "" where nobody told."""
    handler: str | None
    """Who had the call last."""
    placed_at: datetime | None
    arrived_at: datetime | None
    answered_at: datetime | None
    """When both sides could speak."""
    ended_at: datetime
    ring_s: float | None
    """Until it was answered, or ended; none where it never rang."""
    talk_s: float | None
    total_s: float
    outcome: str
    because: str | None
    ended_by: str | None
    ended_cause: str | None = None
    """See `Ender`, for both. Records that were written before there was a cause have none."""
    handler_ended: str | None
    """`returned`, `raised` or `cancelled`."""
    handler_error: str | None
    why: str | None
    """What probably went wrong, in one sentence."""
    quality: Sounded | None
    recordings: tuple[str, ...]
    """Paths and URLs."""


def record_of(call_id: str, log: Sequence[facts.Fact], *, with_psid: bool = False) -> Record | None:
    """Return the record of a call; none while it is not closed, or where nothing is known of it."""
    folded = fold(log)
    call, ended_ms, started_ms = folded.call, folded.ended_ms, folded.started_ms
    if not any(isinstance(fact, facts.Closed) for fact in log) or ended_ms is None or started_ms is None:
        return None
    answered_ms, rang_ms = folded.first_ms.get(Phase.LIVE), _rang_ms(folded)
    started = [fact.handler for fact in log if isinstance(fact, facts.HandlerStarted)]
    ended = next((fact for fact in reversed(log) if isinstance(fact, facts.HandlerEnded)), None)
    sounded = next((fact for fact in reversed(log) if isinstance(fact, facts.LegClosed)), None)
    reasons = why(log)
    ender = folded.ender
    record = Record(
        call_id=call_id,
        meta_id=call.meta_id or (None if call.placed else call_id),
        page=call.page,
        consumer=call.consumer and pseudonym(call.consumer),
        psid=(call.consumer or None) if with_psid else None,
        direction=call.direction,
        handler=started[-1] if started else None,
        placed_at=_time(started_ms) if call.placed else None,
        arrived_at=None if call.placed else _time(call.arrived_ms or started_ms),
        answered_at=None if answered_ms is None else _time(answered_ms),
        ended_at=_time(ended_ms),
        ring_s=None if rang_ms is None else _seconds(rang_ms, answered_ms or ended_ms),
        talk_s=None if answered_ms is None else _seconds(answered_ms, ended_ms),
        total_s=_seconds(started_ms, ended_ms),
        outcome=str(call.outcome or ""),
        because=folded.because,
        ended_by=ender and ender.by,
        ended_cause=ender and ender.cause,
        handler_ended=None if ended is None else ended.how,
        handler_error=None if ended is None else ended.error.partition("\n")[0] or None,
        why=reasons[0].sentence if reasons else None,
        quality=None if sounded is None else Sounded(**quality.told(sounded)),
        recordings=tuple(dict.fromkeys(fact.path for fact in log if isinstance(fact, PATHS_OF))),
    )
    return record if with_psid or not call.consumer else _veiled(record, call.consumer)


def _veiled(record: Record, psid: str) -> Record:
    """Return the record with the pseudonym wherever somebody else's words, an error's say, name the consumer."""

    def veiled(text: str | None) -> str | None:
        return text and text.replace(psid, record.consumer)

    return replace(record, handler_error=veiled(record.handler_error), why=veiled(record.why))


def _rang_ms(folded: Folded) -> int | None:
    """Return when it began to ring, at the consumer's where we call."""
    if folded.call.placed:
        return folded.first_ms.get(Phase.CALLING)
    return folded.call.arrived_ms or None


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _seconds(from_ms: int, to_ms: int) -> float:
    return max(0.0, (to_ms - from_ms) / 1000)
