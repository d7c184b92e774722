"""An RQ worker that runs many jobs at once on one asyncio loop.

To the outside it is an RQ worker: `rq info`, rq-dashboard, `rq suspend` and the maintenance of other workers see its
state, counts, jobs and registries. Inside, each queue has a fetcher that moves job ids to RQ's intermediate list by
BLMOVE, so that no id is ever in nobody's hands; `runner.py` runs each job as a task. Dependents of a job are not
enqueued: nobody here chains jobs.

A job runs at least once. What was taken off a queue is this worker's duty: while Redis is away it keeps trying to
register the beginning and the end. If the worker is killed, any other one notices within some seconds and enqueues its
jobs again, as long as they have retries left (`upkeep.py`).
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.worker.base import SHUTDOWN_SIGNAL, WorkerStatus

from shared import log
from shared.errors import RedisAway
from shared.jobs import ALLOWED, JsonSerializer
from shared.wire import Argument, ReplyError, Wire
from workers.action.ledger import InertJob, Ledger
from workers.action.repertoire import JobFunction, Repertoire
from workers.action.runner import Runner
from workers.action.slots import Slots
from workers.action.upkeep import Upkeep

FETCH_BLOCK_S: Final = 2.0
"""How long one BLMOVE waits."""

UNBLOCK_EVERY_S: Final = 0.05

BLOCKING_TIMEOUT_S: Final = 5
"""For each command of maintenance and of unusual endings."""

_log = log.get()


class PoolWorker(SimpleWorker):
    """Runs up to `concurrency` jobs at once.

    The first queue is the most urgent: the others leave `reserve` slots to it. `functions` are all that a job may name,
    by default those of `shared.jobs.ALLOWED`; each is a coroutine function, called with the context of `serve` and the
    job's arguments. `connection` leads to the same server as `url` and does not decode responses.
    """

    job_class = InertJob

    def __init__(
        self,
        queues: Sequence[str],
        name: str | None = None,
        *,
        connection: redis.Redis,
        url: str = "",
        functions: Mapping[str, JobFunction] | None = None,
        serializer: Any = JsonSerializer,
        concurrency: int = 50,
        reserve: int = 5,
        grace_s: float = 25.0,
        heartbeat_s: float = 1.0,
        maintenance_s: int = 2,
        **rq_options: Any,
    ) -> None:
        if concurrency <= len(queues):
            raise ValueError(f"concurrency must exceed the number of queues, {len(queues)}: each fetcher holds a slot")
        # `serve` notes host and process. RQ itself passes both options when it builds workers only to show them.
        rq_options |= {"prepare_for_work": False, "job_class": InertJob}
        super().__init__(
            queues,
            name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            connection=connection,
            serializer=serializer,
            maintenance_interval=maintenance_s,
            worker_ttl=30,
            **rq_options,
        )
        self.log = logging.getLogger("rq.worker.pool")
        self.log.setLevel(logging.WARNING)  # below that, RQ reports every job and every maintenance
        self._url = url
        self._functions = functions
        self._grace_s = grace_s
        self._heartbeat_s = heartbeat_s
        self._slots = Slots(concurrency, kept=min(reserve, concurrency - len(queues)))
        self._ledger = Ledger(self)
        self._upkeep = Upkeep()
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop  # this and the rest are there while `serve` runs
        self._wire: Wire
        self._runner: Runner

    # -- the life of the worker

    async def serve(self, context: Any = None, *, handle_signals: bool = True) -> None:
        """Work until `stop` is called or SIGTERM or SIGINT arrives; then finish what runs, for `grace_s` at most.

        A second signal ends the grace.
        """
        self._loop = asyncio.get_running_loop()
        repertoire = Repertoire.of(ALLOWED) if self._functions is None else Repertoire(self._functions)
        async with contextlib.AsyncExitStack() as stack:
            if handle_signals:
                stack.enter_context(self._signals())
            wires = [await stack.enter_async_context(self._connected(role)) for role in ("jobs", *self.queue_names())]
            if self._stopping.is_set():
                return
            self._wire = wires[0]
            self._runner = Runner(self, self._wire, self._ledger, repertoire, context)
            await stack.enter_async_context(self._registered())
            await self._work(wires[1:])

    def stop(self) -> None:
        """Take no new jobs and finish those that run; called again, cancel them now."""
        if self._stopping.is_set():
            self._hurried.set()
        _log.info("worker.stopping", worker=self.name, hurried=self._hurried.is_set())
        self._stopping.set()
        self._slots.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            self._loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in numbers:
                self._loop.remove_signal_handler(number)

    @contextlib.asynccontextmanager
    async def _connected(self, role: str) -> AsyncIterator[Wire]:
        """Lend a wire, however long Redis takes to be there; when we are stopped before, it is not connected."""
        wire = Wire.from_url(self._url, name=f"{self.name}:{role}")
        while not self._stopping.is_set():
            try:
                await wire.connect()
                break
            except RedisAway as error:
                _log.warning("redis.missed", worker=self.name, cause=str(error))
                await asyncio.sleep(1)
        try:
            yield wire
        finally:
            await wire.close()

    @contextlib.asynccontextmanager
    async def _registered(self) -> AsyncIterator[None]:
        """Be known to RQ as a worker, and listen to its commands."""
        await asyncio.to_thread(self._register)
        _log.info("worker.started", worker=self.name, queues=self.queue_names())
        try:
            yield
        finally:
            try:
                await asyncio.to_thread(self.teardown)
            except redis.RedisError as error:
                _log.warning("worker.left_behind", worker=self.name, cause=str(error), then="its key expires by itself")
            _log.info("worker.stopped", worker=self.name)

    def _register(self) -> None:
        self.hostname, self.pid = socket.gethostname(), os.getpid()
        self._set_ip_address(self.connection)
        untyped = cast("Any", self)
        untyped.register_birth()
        untyped.subscribe()
        self.set_state(WorkerStatus.IDLE)

    async def _work(self, wires: Sequence[Wire]) -> None:
        async with asyncio.TaskGroup() as group:
            upkeep = [group.create_task(self._beat_forever()), group.create_task(self._maintain_forever())]
            fetchers = [
                group.create_task(self._fetch(queue, wire, urgent=rank == 0))
                for rank, (queue, wire) in enumerate(zip(self.queues, wires, strict=True))
            ]
            await self._stopping.wait()
            await self._call_in(fetchers, wires)
            await self._runner.drain(self._grace_s, self._hurried)
            for task in upkeep:
                task.cancel()

    async def _call_in(self, fetchers: Sequence[asyncio.Task[None]], wires: Sequence[Wire]) -> None:
        """Let every fetcher end by itself: one that is cut off in BLMOVE could swallow a job."""
        while not all(fetcher.done() for fetcher in fetchers):
            for wire in wires:
                if wire.client_id:
                    self._send("CLIENT", "UNBLOCK", wire.client_id)
            await asyncio.wait(fetchers, timeout=UNBLOCK_EVERY_S)

    async def _fetch(self, queue: Queue, wire: Wire, *, urgent: bool) -> None:
        """Take jobs off one queue while there are slots for it."""
        while await self._slots.take(urgent=urgent):
            job_id = await self._next(queue, wire)
            if job_id is None:
                self._slots.give_back()
                continue
            self._runner.start(queue, job_id, then=self._after_job)

    async def _next(self, queue: Queue, wire: Wire) -> str | None:
        move = ("BLMOVE", queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT", FETCH_BLOCK_S)
        try:
            job_id: bytes | None = await wire.call(*move, timeout_s=FETCH_BLOCK_S + 2)
        except RedisAway:  # the next command waits for the wire to return
            return None
        except ReplyError as error:
            _log.error("queue.unreadable", queue=queue.name, cause=str(error))
            await asyncio.sleep(1)
            return None
        return job_id.decode() if job_id else None

    def _after_job(self) -> None:
        self._slots.give_back()
        if not self._runner.busy:
            self._show_status()

    # -- upkeep

    def _status(self) -> WorkerStatus:
        if self._runner.busy:
            return WorkerStatus.BUSY
        return WorkerStatus.SUSPENDED if self._slots.paused else WorkerStatus.IDLE

    def _show_status(self) -> None:
        """Tell RQ what we are doing; should it get lost, the next beat says it again."""
        self._send(*self._ledger.show(self._status()))

    def _send(self, *command: Argument) -> None:
        """Send what may get lost."""
        self._wire.send(*command).add_done_callback(lambda sent: sent.cancelled() or sent.exception())

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self._beat()

    async def _beat(self) -> bool:
        """Tell RQ that we and our jobs are alive, and hear whether workers are suspended; False if Redis is away."""
        try:
            beat = self._ledger.beat(self._status(), ((run.job, run.execution) for run in self._runner.runs))
            forgotten, *_, suspended = await self._wire.transaction(beat)
            if forgotten:
                await self._wire.transaction(self._ledger.enrol())
            if bool(suspended) is not self._slots.paused:
                self._slots.pause(bool(suspended))
                self._show_status()
        except (RedisAway, ReplyError) as error:
            _log.warning("worker.unheard", worker=self.name, cause=str(error))
            return False
        return True

    async def _maintain_forever(self) -> None:
        """Look for jobs of dead workers, often enough to matter; beat first, so that nobody takes ours for dead."""
        while True:
            if await self._beat():
                try:
                    await asyncio.to_thread(self.run_maintenance_tasks)
                except Exception as error:  # noqa: BLE001 - somebody's broken job must not end this worker
                    _log.warning("maintenance.failed", worker=self.name, cause=repr(error))
            await asyncio.sleep(self.maintenance_interval * random.uniform(0.75, 1.25))

    # -- what RQ's base class asks

    def clean_registries(self) -> None:
        """Look after the jobs of dead workers; RQ calls this in each round of maintenance."""
        for queue in self.queues:
            self._upkeep.look_after(queue, self._exc_handlers)

    @property
    def connection_timeout(self) -> int:
        """Return the time limit of the blocking connection in seconds."""
        return BLOCKING_TIMEOUT_S

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Return for how many seconds a job counts as running after a sign of life."""
        return int(3 * self._heartbeat_s) + 1

    def unsubscribe(self) -> None:
        """Stop listening to commands. RQ's own order, unsubscribe and then stop, can leave the thread waiting."""
        channel, listener = cast("Any", self.pubsub), cast("Any", self.pubsub_thread)
        listener.stop()
        channel.unsubscribe()
        listener.join(timeout=1)
        channel.close()

    def teardown(self) -> None:
        """Say goodbye, and stop listening even if nobody hears it."""
        try:
            cast("Any", self).register_death()
        finally:
            self.unsubscribe()

    def kill_horse(self, sig: signal.Signals = SHUTDOWN_SIGNAL) -> None:
        """Cancel the job that an operator asked to stop; RQ calls this in the thread that listens for commands."""
        self._loop.call_soon_threadsafe(self._runner.cancel, self._stopped_job_id)

    def work(self, *_args: Any, **_options: Any) -> bool:
        """Refuse: this worker needs a loop and a context."""
        raise NotImplementedError("a PoolWorker runs by `await worker.serve(context)`; `pageline action` does that")
