"""Gives jobs of dead workers back, soon: a caller may be listening to silence until one of them is done.

RQ's own round has two waits that are too long for a telephone. Its lock outlives a maintainer that was killed by 15
minutes, and an id that a worker took off a queue and then died with stays in the intermediate list for one.
"""

from typing import Any, Final, cast

from rq import Queue, worker_registration
from rq.registry import clean_registries

from shared.clock import monotonic_s

LOCKED_FOR_S: Final = 10
"""One worker at a time does the round; one that is killed in it holds up the others for so long."""

TAKEN_FOR_S: Final = 3.0
"""An id that was taken for longer without its job having begun is in nobody's hands."""

PUT_BACK: Final = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) > 0 then redis.call('LPUSH', KEYS[2], ARGV[1]) end
"""


class Upkeep:
    """The rounds of one worker, which remembers what it saw in the last one."""

    def __init__(self) -> None:
        self._taken_s: dict[tuple[str, str], float] = {}

    def look_after(self, queue: Queue, exception_handlers: list[Any]) -> None:
        """Enqueue again what dead workers took from this queue or were at work on, unless somebody else is at it."""
        if not queue.connection.set(queue.registry_cleaning_key, 1, nx=True, ex=LOCKED_FOR_S):
            return
        try:
            clean_registries(queue, exception_handlers)
            worker_registration.clean_worker_registry(queue)
            self._put_back_what_nobody_began(queue)
        finally:
            queue.connection.delete(queue.registry_cleaning_key)

    def _put_back_what_nobody_began(self, queue: Queue) -> None:
        """Put ids back that have been taken for some rounds; a job that has begun is no longer in the list."""
        now_s, seen = monotonic_s(), self._taken_s
        self._taken_s = {
            key: seen.get(key, now_s)
            for key in ((queue.key, job_id) for job_id in queue.intermediate_queue.get_job_ids())
        } | {key: since_s for key, since_s in seen.items() if key[0] != queue.key}
        for (queue_key, job_id), since_s in list(self._taken_s.items()):
            if queue_key == queue.key and now_s - since_s >= TAKEN_FOR_S:
                cast("Any", queue.connection).eval(PUT_BACK, 2, queue.intermediate_queue.key, queue.key, job_id)
                del self._taken_s[queue_key, job_id]
