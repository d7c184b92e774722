"""The way of a job from its id to its written ending, for many jobs at once.

    HGETALL -> registered as started -> function(context, *args) -> registered as finished

The bookkeeping of this usual way is RQ's own code (`ledger.py`), but it leaves through a `Wire`, the commands of all
jobs of one loop tick in one write. Jobs that raise, or that ask RQ for a retry or a repeat, end in the methods of RQ's
base class, in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import redis
from rq import Queue, Retry
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.job import Job

from shared import log
from shared.errors import PagelineError, RedisAway
from shared.wire import Wire
from workers.action.ledger import Ledger
from workers.action.repertoire import JobRefused, Repertoire

if TYPE_CHECKING:
    from workers.action.pool import PoolWorker

T = TypeVar("T")

PAUSE_S: Final = 0.1
"""Between two attempts to tell Redis something it must know."""

LAST_WORDS_S: Final = 2.0
"""For writing down how the jobs ended that were cancelled after the grace."""

_log = log.get()


class JobCancelled(PagelineError):
    """The job did not end in the time its worker had left, or an operator stopped it."""


@dataclass(slots=True, eq=False)
class Run:
    """A job whose function is being called."""

    job: Job
    queue: Queue
    execution: Execution
    task: asyncio.Task[None]
    stop_requested: bool = False


class Runner:
    """Runs the jobs of a worker, each as a task; knows which ones are running."""

    def __init__(self, worker: "PoolWorker", wire: Wire, ledger: Ledger, repertoire: Repertoire, context: Any) -> None:
        self._worker = worker
        self._wire = wire
        self._ledger = ledger
        self._repertoire = repertoire
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: set[Run] = set()
        self._finalizer = ThreadPoolExecutor(1, "rq-endings")

    @property
    def busy(self) -> bool:
        """Whether there is any job that is not settled yet."""
        return bool(self._tasks)

    @property
    def runs(self) -> list[Run]:
        """The jobs whose functions are being called."""
        return list(self._runs)

    def start(self, queue: Queue, job_id: str, *, then: Callable[[], None]) -> None:
        """Run the job whose id was moved to the intermediate list of `queue`; `then` is called when it is settled."""

        def put_aside(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()):
                _log.error("job.dropped", job=job_id, cause=repr(error), then="maintenance will find it")
            then()

        task = asyncio.create_task(self._carry_out(queue, job_id), name=f"job {job_id}")
        self._tasks.add(task)
        task.add_done_callback(put_aside)

    def cancel(self, job_id: str | None) -> None:
        """Cancel a job because an operator wants it; RQ notes it as stopped."""
        for run in self._runs:
            if run.job.id == job_id:
                run.stop_requested = True
                run.task.cancel()

    async def drain(self, grace_s: float, hurried: asyncio.Event) -> None:
        """Let jobs finish; those that outlast the grace are cancelled, and return to the queue if they have retries."""
        if self._tasks:
            settled = asyncio.create_task(asyncio.wait(self._tasks.copy()))
            hurry = asyncio.create_task(hurried.wait())
            await asyncio.wait({settled, hurry}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            for run in self._runs:
                run.task.cancel()
            await asyncio.wait({settled}, timeout=LAST_WORDS_S)
            for task in (hurry, *self._tasks):
                task.cancel()
            await settled
        self._finalizer.shutdown(wait=False)

    async def _carry_out(self, queue: Queue, job_id: str) -> None:
        """Read a job, run it and write down how it ended."""
        job = await self._read(queue, job_id)
        if job is None:
            return
        execution, beginning = self._ledger.begin(job, queue)
        begun = asyncio.create_task(self._insist(lambda: self._wire.transaction(beginning)))
        run = Run(job, queue, execution, cast("asyncio.Task[None]", asyncio.current_task()))
        try:
            value = await self._perform(run)
        except Exception as error:  # noqa: BLE001 - whatever a job raises is how it ended
            failure = error
            await begun
            await self._settle(lambda: self._fail(run, failure))
            return
        await begun
        if isinstance(value, Retry) or job.repeats_left or job.has_rate_limit:
            await self._settle(lambda: self._worker._finalize_success(job, queue, execution, value))
            return
        ending = self._ledger.finish(job, execution, value)
        await self._insist(lambda: self._wire.transaction(ending))

    async def _read(self, queue: Queue, job_id: str) -> Job | None:
        """Return the job; None if its hash has expired or is unreadable, and then nobody will meet its id again."""
        fields = await self._insist(lambda: self._wire.call("HGETALL", self._worker.job_class.key_for(job_id)))
        try:
            return self._ledger.read(job_id, fields)
        except (ValueError, KeyError, NoSuchJobError) as error:
            _log.warning("job.vanished", job=job_id, queue=queue.name, cause=repr(error) if fields else "expired")
            forgetting = self._ledger.forget(queue, job_id)
            await self._insist(lambda: self._wire.transaction(forgetting))
            return None

    async def _perform(self, run: Run) -> Any:
        self._runs.add(run)
        try:
            return await self._repertoire.perform(run.job, self._context)
        except JobRefused:
            run.job.retries_left = None
            raise
        except asyncio.CancelledError as error:
            run.task.uncancel()
            why = "an operator stopped it" if run.stop_requested else "its worker stopped"
            raise JobCancelled(f"{run.job.func_name} was cancelled before it ended: {why}") from error
        finally:
            self._runs.discard(run)

    async def _insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step on the wire until Redis is there: what we took off a queue must be written down."""
        while True:
            try:
                return await step()
            except RedisAway:
                await asyncio.sleep(PAUSE_S)

    async def _settle(self, step: Callable[[], None]) -> None:
        """Let RQ's base class write down an unusual ending, in a thread, and again until Redis is there."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._finalizer, step)
                break
            except (redis.ConnectionError, redis.TimeoutError):
                await asyncio.sleep(PAUSE_S)

    def _fail(self, run: Run, error: Exception) -> None:
        if run.stop_requested:
            self._worker._stopped_job_id = run.job.id  # RQ then notes STOPPED instead of FAILED
        self._worker._finalize_failure(run.job, run.queue, run.execution, (type(error), error, error.__traceback__))
