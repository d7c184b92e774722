"""Jobs that a dead worker took off a queue are put back soon, whoever maintained the queue when he died."""

from collections.abc import Iterator

import pytest
import redis
from rq import Queue

from shared import clock, jobs
from shared.wire import Wire
from workers.action.upkeep import LOCKED_FOR_S, TAKEN_FOR_S, Upkeep


class Later(clock.SystemClock):
    """A clock that can be put forward."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return super().monotonic_s() + self.ahead_s


@pytest.fixture
def later() -> Iterator[Later]:
    here = Later()
    clock.use(here)
    yield here
    clock.use(clock.SystemClock())


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue(jobs.CONTROL, connection=redis.Redis.from_url(redis_url), serializer=jobs.JsonSerializer)


async def take_off(queue: Queue, redis_url: str) -> str:
    """Do as a worker does that dies right after it took a job."""
    async with Wire.from_url(redis_url) as wire:
        await jobs.enqueue(wire, jobs.CONTROL, "workers.action.jobs.act", [], job_id="terminate-1")
        moved = await wire.call("LMOVE", queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    assert queue.job_ids == []
    return str(moved.decode())


async def test_a_job_that_was_taken_and_never_begun_returns_to_its_queue(
    queue: Queue, redis_url: str, later: Later
) -> None:
    job_id, upkeep = await take_off(queue, redis_url), Upkeep()
    upkeep.look_after(queue, [])
    assert queue.intermediate_queue.get_job_ids() == [job_id], "it may be about to begin"
    later.ahead_s += TAKEN_FOR_S
    upkeep.look_after(queue, [])
    assert (queue.job_ids, queue.intermediate_queue.get_job_ids()) == ([job_id], [])


async def test_a_job_that_is_taken_a_second_time_gets_all_the_time_again(
    queue: Queue, redis_url: str, later: Later
) -> None:
    job_id, upkeep = await take_off(queue, redis_url), Upkeep()
    upkeep.look_after(queue, [])
    queue.connection.lrem(queue.intermediate_queue_key, 1, job_id)  # it began
    upkeep.look_after(queue, [])
    queue.connection.rpush(queue.intermediate_queue_key, job_id)
    later.ahead_s += TAKEN_FOR_S
    upkeep.look_after(queue, [])
    assert queue.intermediate_queue.get_job_ids() == [job_id]


def test_a_maintainer_that_is_killed_holds_the_others_up_for_seconds_only(queue: Queue) -> None:
    held_ms: list[int] = []
    watching = redis.Redis.from_url("redis://")
    watching.connection_pool = queue.connection.connection_pool

    class Watched(Queue):
        """Sees the lock from within a round."""

        @property
        def intermediate_queue(self) -> object:
            held_ms.append(watching.pttl(self.registry_cleaning_key))
            return super().intermediate_queue

    Upkeep().look_after(Watched(jobs.CONTROL, connection=queue.connection, serializer=jobs.JsonSerializer), [])
    assert all(0 < ms <= LOCKED_FOR_S * 1000 for ms in held_ms)
    assert held_ms
    assert not queue.connection.exists(queue.registry_cleaning_key)
