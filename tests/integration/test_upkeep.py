"""Jobs that a dead worker took off a queue are put back soon, whoever maintained the queue when he died."""

from datetime import timedelta

import pytest
import redis
from rq import Queue
from rq.utils import now

from shared import jobs
from shared.wire import Wire
from workers.action import upkeep


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


def seen_before(queue: Queue, job_id: str, ago: timedelta) -> None:
    taken = queue.intermediate_queue
    queue.connection.set(taken.get_first_seen_key(job_id), (now() - ago).timestamp())


async def test_a_job_that_was_taken_and_never_begun_returns_to_its_queue(queue: Queue, redis_url: str) -> None:
    job_id = await take_off(queue, redis_url)
    upkeep.look_after(queue, [])
    assert queue.intermediate_queue.get_job_ids() == [job_id], "it may be about to begin"
    seen_before(queue, job_id, upkeep.TAKEN_FOR)
    upkeep.look_after(queue, [])
    assert queue.job_ids == [job_id]
    assert queue.intermediate_queue.get_job_ids() == []
    assert queue.intermediate_queue.get_first_seen(job_id) is None, "the next time is another one"


async def test_a_maintainer_that_was_killed_holds_nobody_up_for_long(queue: Queue, redis_url: str) -> None:
    job_id = await take_off(queue, redis_url)
    seen_before(queue, job_id, upkeep.TAKEN_FOR)
    queue.connection.set(queue.registry_cleaning_key, 1, ex=upkeep.LOCKED_FOR_S)
    upkeep.look_after(queue, [])
    assert queue.job_ids == [], "another worker is at it"
    queue.connection.delete(queue.registry_cleaning_key)
    upkeep.look_after(queue, [])
    assert queue.job_ids == [job_id]
