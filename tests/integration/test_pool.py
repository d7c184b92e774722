"""The action worker's engine on a real Valkey, looked at with RQ's own eyes."""

import asyncio
import os
import pickle
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Callback, Queue, Retry, Worker
from rq.command import send_stop_execution_command, send_stop_job_command
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.suspension import resume, suspend
from rq.worker import BaseWorker

from shared import jobs
from shared.embedded import EmbeddedValkey
from shared.jobs import JsonSerializer
from shared.wire import Wire
from workers.action.pool import PoolWorker
from workers.action.repertoire import JobFunction

ACT = "workers.action.jobs.act"


class Stage:
    """The context of the jobs of one test: what they did, and the gate some of them wait at."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.begun_at: dict[str, float] = {}
        self.gate = asyncio.Event()


async def note(stage: Stage, what: Any = None, *_rest: Any) -> Any:
    stage.begun_at[str(what)] = time.perf_counter()
    stage.begun.append(what)
    return what


async def wait_at_gate(stage: Stage, what: Any = None) -> str:
    stage.begun.append(what)
    await stage.gate.wait()
    stage.ended.append(what)
    return "through"


async def nap_100_ms(_stage: Stage) -> None:
    await asyncio.sleep(0.1)  # the work that a hundred jobs do at once


async def fail(stage: Stage, message: str) -> None:
    stage.begun.append(message)
    raise ValueError(message)


async def ask_for_retry(stage: Stage) -> Any:
    stage.begun.append("asked")
    return Retry(max=1) if len(stage.begun) == 1 else "enough"


FUNCTIONS: dict[str, JobFunction] = {
    ACT: note,
    "note": note,
    "gate": wait_at_gate,
    "nap": nap_100_ms,
    "fail": fail,
    "retry": ask_for_retry,
}


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    async with Wire.from_url(redis_url) as wire:
        yield wire


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    return Queue("accept", connection=client, serializer=JsonSerializer)


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is in Redis or in another process
            await asyncio.sleep(0.005)


@asynccontextmanager
async def working(url: str, stage: Stage, *, queues: tuple[str, ...] = jobs.QUEUES, **options: Any) -> Any:
    with redis.Redis.from_url(url) as connection:
        worker = PoolWorker(queues, connection=connection, url=url, functions=FUNCTIONS, **options)
        serving = asyncio.create_task(worker.serve(stage, handle_signals=False))
        try:
            yield worker
        finally:
            worker.stop()
            await serving


def fetch(client: redis.Redis, job_id: str) -> Job:
    return Job.fetch(job_id, connection=client, serializer=JsonSerializer)


def left_over(client: redis.Redis, name: str = "accept") -> list[str]:
    """Return what RQ would show as unfinished: ids in the queue, in transit, or running."""
    queue = Queue(name, connection=client, serializer=JsonSerializer)
    running = StartedJobRegistry(queue=queue).get_job_ids(cleanup=False)
    return queue.job_ids + IntermediateQueue(queue.key, client).get_job_ids() + running


def trace_of(job: Job) -> str:
    result = job.latest_result()
    assert result
    return str(result.exc_string)


# -- a genuine RQ worker


async def test_a_job_enqueued_through_a_wire_runs_and_its_result_is_seen_by_rq(
    redis_url: str, client: redis.Redis, wire: Wire
) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        assert await jobs.enqueue(wire, "accept", ACT, ["call", 1, 1234], job_id="accept-Y2FsbA-1")
        job = fetch(client, "accept-Y2FsbA-1")
        await until(lambda: job.get_status() is JobStatus.FINISHED)
    assert job.return_value() == "call"
    assert job.description == ACT, "a description never holds arguments"
    assert FinishedJobRegistry(queue=Queue("accept", connection=client)).get_job_ids() == [job.id]
    assert 0 < client.ttl(job.key) <= 600
    assert left_over(client) == []


async def test_a_job_enqueued_by_rq_itself_runs_with_its_arguments(redis_url: str, queue: Queue) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        job = queue.enqueue("note", {"id": 7})
        await until(lambda: job.get_status() is JobStatus.FINISHED)
    assert job.return_value() == {"id": 7}


async def test_rq_sees_the_worker_its_state_its_jobs_and_its_counts(
    redis_url: str, client: redis.Redis, queue: Queue
) -> None:
    stage = Stage()

    def shown() -> BaseWorker:
        (worker,) = Worker.all(connection=client, serializer=JsonSerializer)
        return worker

    async with working(redis_url, stage) as worker:
        await until(lambda: Worker.count(connection=client) and shown().get_state() == "idle")
        waiting, failing = queue.enqueue("gate"), queue.enqueue("fail", "on purpose")
        await until(lambda: failing.get_status() is JobStatus.FAILED and waiting.get_status() is JobStatus.STARTED)
        assert shown().get_state() == "busy"
        assert shown().queue_names() == ["accept", "control", "bulk"]
        assert [run.job_id for run in shown().get_current_executions()] == [waiting.id]
        assert StartedJobRegistry(queue=queue).get_job_ids() == [waiting.id]
        assert waiting.get_status() is JobStatus.STARTED
        stage.gate.set()
        await until(lambda: shown().get_state() == "idle")
        assert (shown().successful_job_count, shown().failed_job_count) == (1, 1)
        assert shown().pid == os.getpid()
        assert [each.name for each in PoolWorker.all(connection=client)] == [worker.name]
    assert Worker.count(connection=client) == 0
    assert left_over(client) == []


async def test_a_job_that_raises_is_found_in_the_failed_registry_with_its_traceback(
    redis_url: str, queue: Queue, client: redis.Redis
) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        job = queue.enqueue("fail", "the moon is full")
        await until(lambda: job.get_status() is JobStatus.FAILED)
    assert FailedJobRegistry(queue=queue).get_job_ids() == [job.id]
    trace = trace_of(job)
    assert "ValueError: the moon is full" in trace
    assert "in fail" in trace
    assert left_over(client) == []


async def test_a_job_with_a_retry_that_raises_is_run_once_more(redis_url: str, client: redis.Redis, wire: Wire) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        queue = Queue("accept", connection=client, serializer=JsonSerializer)
        job = queue.enqueue("fail", "again", retry=Retry(max=1))
        await until(lambda: job.get_status() is JobStatus.FAILED)
    assert stage.begun == ["again", "again"]


async def test_a_job_that_returns_a_retry_is_run_again(redis_url: str, queue: Queue) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        job = queue.enqueue("retry")
        await until(lambda: job.get_status() is JobStatus.FINISHED)
    assert job.return_value() == "enough"


async def test_a_job_that_outlasts_its_timeout_fails(redis_url: str, queue: Queue) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        job = queue.enqueue("gate", job_timeout=1)
        await until(lambda: job.get_status() is JobStatus.FAILED)
    assert "gate was stopped after 1 s" in trace_of(job)


async def test_suspended_workers_take_no_jobs_until_they_are_resumed(
    redis_url: str, client: redis.Redis, queue: Queue
) -> None:
    stage = Stage()
    suspend(client)
    async with working(redis_url, stage, heartbeat_s=0.05):
        await until(lambda: [w.get_state() for w in Worker.all(connection=client)] == ["suspended"])
        await asyncio.sleep(2.1)  # a fetch that had begun before is over now
        job = queue.enqueue("note")
        await asyncio.sleep(0.05)
        assert job.get_status() is JobStatus.QUEUED
        resume(client)
        await until(lambda: job.get_status() is JobStatus.FINISHED)


async def test_an_operator_can_stop_a_job(redis_url: str, client: redis.Redis, queue: Queue) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        job = queue.enqueue("gate", retry=Retry(max=3))
        await until(lambda: stage.begun and job.get_status() is JobStatus.STARTED)
        send_stop_job_command(client, job.id, serializer=JsonSerializer)
        await until(lambda: job.get_status() is JobStatus.STOPPED)
    assert stage.ended == []
    assert "an operator stopped it" in trace_of(job)


async def test_several_jobs_can_be_stopped_at_the_same_moment(
    redis_url: str, client: redis.Redis, queue: Queue
) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        stopped = [queue.enqueue("gate", number, retry=Retry(max=3)) for number in range(5)]
        await until(lambda: len(stage.begun) == 5 and all(job.get_executions() for job in stopped))
        for job in stopped:
            (execution,) = job.get_executions()
            send_stop_execution_command(client, job.id, execution.id)
        await until(lambda: {job.get_status() for job in stopped} == {JobStatus.STOPPED})


# -- what it refuses


@pytest.fixture
def trap(tmp_path: Path) -> Any:
    """A module that leaves a mark when it is imported; yields its name and the mark."""
    mark = tmp_path / "sprung"
    (tmp_path / "trapdoor.py").write_text(f"open({str(mark)!r}, 'w')\ndef step(*_): pass\n")
    sys.path.append(str(tmp_path))
    yield "trapdoor.step", mark
    sys.path.remove(str(tmp_path))


async def test_a_job_that_names_another_function_is_failed_and_nothing_is_imported(
    redis_url: str, client: redis.Redis, queue: Queue, trap: tuple[str, Path]
) -> None:
    name, mark = trap
    async with working(redis_url, Stage()):
        shell, module = queue.enqueue("os.system", f"touch {mark}", retry=Retry(max=3)), queue.enqueue(name)
        await until(lambda: {shell.get_status(), module.get_status()} == {JobStatus.FAILED})
        (worker,) = Worker.all(connection=client)
        assert worker.failed_job_count == 2, "what is refused is not tried again"
    assert "os.system is not a function this worker runs" in trace_of(shell)
    assert not mark.exists()


async def test_callbacks_of_a_job_are_never_imported(redis_url: str, queue: Queue, trap: tuple[str, Path]) -> None:
    name, mark = trap
    callbacks = {"on_success": Callback(name), "on_failure": Callback(name), "on_stopped": Callback(name)}
    async with working(redis_url, Stage()):
        good, bad = queue.enqueue("note", **callbacks), queue.enqueue("fail", "x", **callbacks)
        await until(lambda: good.get_status() is JobStatus.FINISHED and bad.get_status() is JobStatus.FAILED)
    assert not mark.exists()


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return open, (str(self.mark), "w")


async def test_a_pickled_job_is_failed_and_never_unpickled(redis_url: str, client: redis.Redis, tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    pickle.loads(pickle.dumps(_Bomb(mark))).close()  # noqa: S301 - shows that the bomb is live
    mark.unlink()
    async with working(redis_url, Stage()):
        job = Queue("accept", connection=client).enqueue("note", _Bomb(mark))
        await until(lambda: job.get_status() is JobStatus.FAILED)
    assert "is not JSON" in trace_of(job)
    assert not mark.exists()


async def test_an_id_without_a_job_is_forgotten(redis_url: str, client: redis.Redis, queue: Queue) -> None:
    client.rpush(queue.key, "gone", "odd")
    client.hset("rq:job:odd", "data", "x")
    client.hset("rq:job:odd", "status", "no such status")
    async with working(redis_url, Stage()):
        await until(lambda: left_over(client) == [])


def test_a_job_the_worker_would_refuse_cannot_be_enqueued() -> None:
    with pytest.raises(ValueError, match=r"os\.system"):
        jobs.commands_for("accept", "os.system", ["true"], job_id="x")
    with pytest.raises(ValueError, match="serves only"):
        jobs.commands_for("default", ACT, [], job_id="x")
    with pytest.raises(ValueError, match="letters"):
        jobs.commands_for("accept", ACT, [], job_id="no:colons")
    assert [command[0] for command in jobs.commands_for("accept", ACT, [], job_id="x")] == ["SADD", "EVALSHA"]


# -- many at once


async def test_one_id_runs_once_however_often_it_is_enqueued(redis_url: str, client: redis.Redis, wire: Wire) -> None:
    stage = Stage()
    async with working(redis_url, stage):
        tries = [jobs.enqueue(wire, "accept", ACT, ["once"], job_id="once") for _ in range(20)]
        assert sorted(await asyncio.gather(*tries)) == [False] * 19 + [True]
        await until(lambda: fetch(client, "once").get_status() is JobStatus.FINISHED)
        assert not await jobs.enqueue(wire, "accept", ACT, ["once"], job_id="once"), "also when it has run"
    assert stage.begun == ["once"]


async def test_fifty_jobs_of_100_ms_take_little_longer_than_one(
    redis_url: str, client: redis.Redis, queue: Queue
) -> None:
    for _ in range(50):
        queue.enqueue("nap")
    began = time.perf_counter()
    async with working(redis_url, Stage(), concurrency=60):
        await until(lambda: FinishedJobRegistry(queue=queue).get_job_count() == 50)
        took_s = time.perf_counter() - began
    print(f"50 jobs of 100 ms took {took_s:.3f} s")
    assert took_s < 1.5


async def test_lower_queues_leave_slots_to_the_most_urgent(redis_url: str, client: redis.Redis, queue: Queue) -> None:
    stage = Stage()
    bulk = Queue("bulk", connection=client, serializer=JsonSerializer)
    for number in range(10):
        bulk.enqueue("gate", number)
    async with working(redis_url, stage, queues=("accept", "bulk"), concurrency=6, reserve=2):
        await until(lambda: len(stage.begun) == 3)  # the fetcher of the urgent queue holds a slot, two are kept for it
        urgent = queue.enqueue("note", "urgent")
        await until(lambda: urgent.get_status() is JobStatus.FINISHED)
        assert sorted(map(str, stage.begun)) == ["0", "1", "2", "urgent"]
        assert bulk.count == 7
        stage.gate.set()
        await until(lambda: len(stage.ended) == 10)


async def test_a_job_starts_within_milliseconds_of_being_enqueued(redis_url: str, wire: Wire) -> None:
    stage = Stage()
    took_ms = []
    async with working(redis_url, stage):
        for number in range(100):
            enqueued_at = time.perf_counter()
            await jobs.enqueue(wire, "accept", ACT, [number], job_id=f"n{number}")
            while str(number) not in stage.begun_at:  # noqa: ASYNC110 - measured in fractions of a millisecond
                await asyncio.sleep(0)
            took_ms.append((stage.begun_at[str(number)] - enqueued_at) * 1000)
    print(f"enqueue to start: p50 {statistics.median(took_ms):.2f} ms, p99 {sorted(took_ms)[98]:.2f} ms")
    assert statistics.median(took_ms) < 20


# -- stopping, dying, and Redis going away


async def test_a_job_that_outlasts_the_grace_returns_to_the_queue(
    redis_url: str, client: redis.Redis, queue: Queue
) -> None:
    stage = Stage()
    async with working(redis_url, stage, grace_s=0.05):
        again = queue.enqueue("gate", "again", retry=Retry(max=1))
        final = queue.enqueue("gate", "final")
        await until(lambda: len(stage.begun) == 2)
    assert queue.job_ids == left_over(client) == [again.id]
    assert final.get_status() is JobStatus.FAILED
    assert "its worker stopped" in trace_of(final)


async def test_a_second_stop_ends_the_grace(redis_url: str, queue: Queue) -> None:
    stage = Stage()
    async with working(redis_url, stage, grace_s=60) as worker:
        job = queue.enqueue("gate")
        await until(lambda: stage.begun)
        worker.stop()
    assert job.get_status() is JobStatus.FAILED


PROCESS = """
import asyncio, sys, redis
from redis.asyncio import Redis
from workers.action.pool import PoolWorker

url = sys.argv[1]

async def gate(context):
    await context.rpush("begun", "x")
    await context.blpop("gate")
    return "through"

async def main():
    async with Redis.from_url(url) as context:
        functions = {"gate": gate}
        worker = PoolWorker(
            ["accept"], connection=redis.Redis.from_url(url), url=url, functions=functions, heartbeat_s=0.2
        )
        await worker.serve(context)

asyncio.run(main())
"""


@pytest.fixture
def process(redis_url: str, client: redis.Redis) -> Any:
    """A worker in a process of its own."""
    started = subprocess.Popen([sys.executable, "-c", PROCESS, redis_url], cwd=Path(__file__).parents[2])
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_jobs_finish_and_leaves_nothing_behind(
    process: subprocess.Popen[bytes], client: redis.Redis, queue: Queue, number: signal.Signals
) -> None:
    running = queue.enqueue("gate")
    await until(lambda: client.llen("begun"))
    process.send_signal(number)
    await asyncio.sleep(0.5)  # that it does not end is what is shown
    late = queue.enqueue("gate")
    assert process.poll() is None
    client.rpush("gate", "open")
    assert await asyncio.to_thread(process.wait, 10) == 0
    assert running.return_value() == "through"
    assert left_over(client) == [late.id], "it took no new job"
    assert Worker.count(connection=client) == 0


async def test_a_job_of_a_killed_worker_is_found_by_the_maintenance_of_another_and_run_again(
    redis_url: str, process: subprocess.Popen[bytes], client: redis.Redis, queue: Queue
) -> None:
    job = queue.enqueue("gate", retry=Retry(max=1))
    await until(lambda: client.llen("begun") and job.get_status() is JobStatus.STARTED)
    process.kill()
    process.wait()
    stage = Stage()
    stage.gate.set()
    async with working(redis_url, stage, maintenance_s=1):
        await until(lambda: job.get_status() is JobStatus.FINISHED)
    assert len(stage.ended) == 1
    assert left_over(client) == []


async def test_a_worker_that_lives_keeps_its_long_jobs(redis_url: str, client: redis.Redis, queue: Queue) -> None:
    stage = Stage()
    async with working(redis_url, stage, heartbeat_s=0.1, maintenance_s=1):
        job = queue.enqueue("gate", retry=Retry(max=1))
        await until(lambda: stage.begun)
        await asyncio.sleep(3)  # three times as long as a job lives in the registry without a beat
        assert len(stage.begun) == 1
        assert left_over(client) == [job.id]
        stage.gate.set()
        await until(lambda: job.get_status() is JobStatus.FINISHED)


async def test_a_restart_of_redis_is_survived_by_the_worker_and_by_the_job_it_runs(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path, appendfsync="always")
    server.start()
    stage = Stage()
    try:
        async with working(server.url, stage, heartbeat_s=0.1):
            client = redis.Redis.from_url(server.url)
            queue = Queue("accept", connection=client, serializer=JsonSerializer)
            running, failing = queue.enqueue("gate", "before"), queue.enqueue("gate", job_timeout=1)
            await until(lambda: len(stage.begun) == 2)
            server.stop()
            stage.gate.set()
            await until(lambda: stage.ended)
            await asyncio.sleep(0.3)  # the ending cannot be written; the worker keeps trying
            server.start()
            await until(lambda: running.get_status() is JobStatus.FINISHED)
            after = queue.enqueue("note", "after")
            await until(lambda: after.get_status() is JobStatus.FINISHED)
            await until(lambda: failing.get_status() is JobStatus.FINISHED)
            assert running.return_value() == "through"
            assert left_over(client) == []
            assert stage.begun.count("before") == 1
    finally:
        server.stop()


async def test_a_redis_that_forgot_everything_is_told_who_works_here(
    redis_url: str, client: redis.Redis, queue: Queue
) -> None:
    async with working(redis_url, Stage(), heartbeat_s=0.05) as worker:
        await until(lambda: Worker.count(connection=client))
        client.flushall()
        await until(lambda: [each.name for each in Worker.all(connection=client)] == [worker.name])
        (shown,) = Worker.all(connection=client)
        assert (shown.get_state(), shown.queue_names()) == ("idle", list(jobs.QUEUES))
        job = queue.enqueue("note")
        await until(lambda: job.get_status() is JobStatus.FINISHED)


async def test_a_worker_waits_for_a_redis_that_starts_later(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    url = server.url
    server.stop()
    async with working(url, Stage()) as worker:
        await asyncio.sleep(0.05)
        server.start()
        try:
            client = redis.Redis.from_url(url)
            await until(lambda: Worker.count(connection=client))
            worker.stop()
            await until(lambda: Worker.count(connection=client) == 0)
        finally:
            server.stop()


async def test_a_worker_can_be_stopped_while_redis_is_away(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    url = server.url
    try:
        async with working(url, Stage()):
            client = redis.Redis.from_url(url)
            await until(lambda: Worker.count(connection=client))
            server.stop()
            began = time.perf_counter()
        assert time.perf_counter() - began < 10
    finally:
        server.stop()
