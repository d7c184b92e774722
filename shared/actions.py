"""Work for the action worker: which queue, which name, which arguments. Never an SDP, a token or a body."""

import base64
import hashlib
from typing import Final

from shared import jobs
from shared.bus import Bus
from shared.dead import Letter

ACT: Final = "workers.action.jobs.act"
FORWARD: Final = "workers.action.jobs.forward"
RETRY: Final = "workers.action.letters.retry"
REPORT: Final = "workers.action.reports.report"
SEND: Final = "workers.action.messages.send"
FORWARD_KEPT_S: Final = 3600
FORWARD_WITHIN_S: Final = 60
ACT_WITHIN_S: Final = 660
"""Longer than any action is useful: an action has a deadline of its own, and what it learnt must land."""

REPORT_WITHIN_S: Final = 60
SEND_WITHIN_S: Final = 60
SEND_STARTED_AGAIN: Final = 3
"""A run that finds its message taken by an earlier one, whose worker died, sends nothing and says so."""

RETRIABLE_AGAIN_S: Final = 60
"""After a retry that RQ gave up, such as one of a worker too old to know it."""

_QUEUE_OF: Final = {
    "accept": jobs.ACCEPT,
    "reject": jobs.CONTROL,
    "terminate": jobs.CONTROL,
    "media_update": jobs.CONTROL,
    "media_answer": jobs.CONTROL,
    "connect": jobs.CONTROL,
    "check_permission": jobs.BULK,
    "optin": jobs.BULK,
}


async def post(
    bus: Bus, *, call_id: str, page: str, action: str, epoch: int, deadline_ms: int, number: int = 0
) -> None:
    """Queue a Graph action for a call; the same action, or change of media, of the same epoch is queued once."""
    await bus.enqueue(
        _QUEUE_OF[action],
        ACT,
        [call_id, page, action, epoch, deadline_ms, *([number] if number else [])],
        job_id=job_id_of(action, call_id, epoch, number),
        within_s=ACT_WITHIN_S,
    )


async def forward(bus: Bus, body: bytes, signature: bytes) -> None:
    """Queue a webhook body that holds other fields than calls for WEBHOOK_FORWARD_URL."""
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    await bus.stash(digest, body, signature, ttl_s=FORWARD_KEPT_S)
    await bus.enqueue(jobs.BULK, FORWARD, [digest], job_id=f"forward-{digest}", within_s=FORWARD_WITHIN_S)


async def retry(bus: Bus, letter: Letter, *, deadline_ms: int) -> bool:
    """Queue another try of what a dead letter is about; False if that is queued already."""
    return await jobs.enqueue(
        bus.wire,
        jobs.CONTROL if letter.action else jobs.BULK,
        RETRY,
        [letter.id, deadline_ms],
        job_id=f"retry-{letter.id}",
        timeout_s=ACT_WITHIN_S,
        failure_ttl_s=RETRIABLE_AGAIN_S,
    )


async def message(bus: Bus, parcel_id: str, *, urgent: bool) -> None:
    """Queue a message that is in the outbox."""
    await jobs.enqueue(
        bus.wire,
        jobs.CONTROL if urgent else jobs.BULK,
        SEND,
        [parcel_id],
        job_id=f"message-{parcel_id}",
        timeout_s=SEND_WITHIN_S,
        retries=SEND_STARTED_AGAIN,
    )


async def report(bus: Bus, call_id: str) -> bool:
    """Queue the report of a call's metrics; False if it waits or runs already. What fails stays owed."""
    return await jobs.enqueue(
        bus.wire,
        jobs.BULK,
        REPORT,
        [call_id],
        job_id=job_id_of("report", call_id, 0),
        timeout_s=REPORT_WITHIN_S,
        result_ttl_s=0,
        failure_ttl_s=RETRIABLE_AGAIN_S,
        retries=0,
    )


def job_id_of(action: str, call_id: str, epoch: int, number: int = 0) -> str:
    """Return the job's id: letters, digits, `-` and `_` only, as RQ wants."""
    encoded = base64.urlsafe_b64encode(call_id.encode()).decode().rstrip("=")
    return f"{action}-{encoded}-{epoch}" + (f"-{number}" if number else "")
