"""Gives jobs of dead workers back, soon: a caller may be listening to silence until one of them is done.

RQ's own round has two waits that are too long for a telephone. Its lock outlives a maintainer that was killed by 15
minutes, and an id that a worker took off a queue and then died with stays in the intermediate list for one.
"""

from datetime import timedelta
from typing import Any, Final, cast

from rq import Queue, worker_registration
from rq.registry import clean_registries
from rq.utils import now

LOCKED_FOR_S: Final = 10
"""One worker at a time does the round; one that is killed in it holds up the others for so long."""

TAKEN_FOR: Final = timedelta(seconds=3)
"""An id that was taken for longer without its job having begun is in nobody's hands."""


def look_after(queue: Queue, exception_handlers: list[Any]) -> None:
    """Enqueue again what dead workers took from this queue or were at work on, unless somebody else is at it."""
    if not queue.connection.set(queue.registry_cleaning_key, 1, nx=True, ex=LOCKED_FOR_S):
        return
    try:
        clean_registries(queue, exception_handlers)
        worker_registration.clean_worker_registry(queue)
        _put_back_what_nobody_began(queue)
    finally:
        queue.connection.delete(queue.registry_cleaning_key)


def _put_back_what_nobody_began(queue: Queue) -> None:
    """A job that is begun late all the same runs twice, which every job of ours bears."""
    taken = queue.intermediate_queue
    for job_id in taken.get_job_ids():
        if job_id in queue.started_job_registry or taken.set_first_seen(job_id):
            continue
        first_seen = taken.get_first_seen(job_id)
        if first_seen is None or now() - first_seen < TAKEN_FOR:
            continue
        pipeline = cast("Any", queue.connection).pipeline()
        pipeline.lrem(taken.key, 1, job_id)
        pipeline.lpush(queue.key, job_id)
        pipeline.delete(taken.get_first_seen_key(job_id))
        pipeline.execute()
