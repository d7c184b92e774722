"""RQ's books about the jobs of a `PoolWorker`, written by RQ's own code and returned as commands instead of being sent.

Everything here is RQ 3 and partly private to it; `tests/integration/test_pool.py` notices when a release changes it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from rq import Queue, worker_registration
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now
from rq.worker import WorkerStatus

from shared.jobs import Command, Recorder

if TYPE_CHECKING:
    from workers.action.pool import PoolWorker


class InertJob(Job):
    """A job as plain data: whatever its hash names, nothing is imported, called or posted because of it.

    RQ would import the function and the callbacks that a job names, also while it tidies up after a dead worker; then
    whoever can write to Redis could run code here.
    """

    success_callback = None
    failure_callback = None
    stopped_callback = None

    @property
    def func(self) -> NoReturn:
        """Refuse: only `PoolWorker` knows which function a name stands for."""
        raise AttributeError(f"the function of job {self.id} is not looked up by name")

    def restore(self, raw_data: Any) -> None:
        """Read the fields of the hash, except those that make RQ send requests to somebody's URL."""
        super().restore(raw_data)
        self.webhooks = []


class Ledger:
    """What RQ writes down when a job of this worker begins, ends, or is still running."""

    def __init__(self, worker: "PoolWorker") -> None:
        self._worker = worker
        self._recorder = Recorder(worker.connection)

    def read(self, job_id: str, fields: list[bytes]) -> Job:
        """Return the job whose hash HGETALL has returned.

        Raises:
            ValueError, KeyError, rq.exceptions.NoSuchJobError: it is not a job's hash.
        """
        job = self._worker.job_class(job_id, connection=self._worker.connection, serializer=self._worker.serializer)
        job.restore(dict(zip(fields[::2], fields[1::2], strict=True)))
        return job

    def begin(self, job: Job, queue: Queue) -> tuple[Execution, list[Command]]:
        """Register that we run the job, and take it off the intermediate list as the last thing."""
        worker, pipeline = self._worker, self._recorder.start()
        execution = Execution.create(job, worker.get_heartbeat_ttl(job), pipeline, worker.name)
        worker.executions[execution.id] = execution
        worker.set_state(WorkerStatus.BUSY, pipeline)
        job.prepare_for_execution(worker.name, pipeline)
        pipeline.persist(job.key)
        pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
        return execution, self._recorder.take()

    def forget(self, queue: Queue, job_id: str) -> list[Command]:
        """Take an id off the intermediate list that no job belongs to."""
        self._recorder.start().lrem(queue.intermediate_queue_key, 1, job_id)
        return self._recorder.take()

    def finish(self, job: Job, execution: Execution, value: Any) -> list[Command]:
        """Register that the job returned `value`, as RQ's `handle_job_success` does for a job without dependents."""
        worker, pipeline = self._worker, self._recorder.start()
        job.ended_at = now()
        job._result = value
        worker.increment_successful_job_count(pipeline)
        worker.increment_total_working_time(job.ended_at - _started_at(job, execution), pipeline)
        result_ttl = job.get_result_ttl(worker.default_result_ttl)
        if result_ttl:
            job._handle_success(
                result_ttl,
                pipeline,
                worker_name=worker.name,
                execution_id=execution.id,
                execution_started_at=execution.created_at,
                execution_ended_at=job.ended_at,
            )
        job.cleanup(result_ttl, pipeline, remove_from_queue=False)
        job._status = JobStatus.FINISHED
        worker.cleanup_execution(job, pipeline, execution)
        return self._recorder.take()

    def show(self, state: WorkerStatus) -> Command:
        """Let `rq info` show the worker in this state."""
        self._worker.set_state(state, self._recorder.start())
        (command,) = self._recorder.take()
        return command

    def beat(self, state: WorkerStatus, running: Iterable[tuple[Job, Execution]]) -> list[Command]:
        """Say that the worker and its jobs are alive.

        The first reply is 1 if Redis had forgotten the worker, the last one is 1 if workers are suspended.
        """
        worker, pipeline = self._worker, self._recorder.start()
        worker.heartbeat(pipeline=pipeline)
        worker.set_state(state, pipeline)
        for job, execution in running:
            execution.heartbeat(job.started_job_registry, worker.get_heartbeat_ttl(job), pipeline)
        pipeline.exists(WORKERS_SUSPENDED)
        return self._recorder.take()

    def enrol(self) -> list[Command]:
        """Register the worker once more, after Redis lost its memory or we were away for too long."""
        worker, pipeline = self._worker, self._recorder.start()
        pipeline.hset(worker.key, mapping=worker.serialize())
        worker.set_state(worker.get_state(), pipeline)
        worker_registration.register(worker, pipeline)
        worker.heartbeat(pipeline=pipeline)
        return self._recorder.take()


def _started_at(job: Job, execution: Execution) -> datetime:
    return job.started_at or execution.created_at
