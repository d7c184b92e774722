"""Jobs for the action worker: their queues, the functions they may name, and how an asyncio process enqueues one.

RQ's own code builds the job. It writes into a redis-py pipeline that is never executed; the recorded commands go out
through a `Wire`, so nothing blocks the loop.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec
import redis
from redis.client import Pipeline
from rq import Queue, Retry
from rq.scripts import UNIQUE_ENQUEUE_SCRIPT

from shared.wire import Argument, Script, Wire

ACCEPT: Final = "accept"
CONTROL: Final = "control"
BULK: Final = "bulk"
QUEUES: Final = (ACCEPT, CONTROL, BULK)
"""All queues, the most urgent first."""

RETRIES: Final = {ACCEPT: 1, CONTROL: 160, BULK: 1}
"""How often a job is started again. A farewell is tried for ten minutes, however many workers die meanwhile: a death is
noticed after 4 s at the earliest (`PoolWorker`), so there is time for 150. An `accept` has none for a second one."""

ALLOWED: Final = frozenset(
    {
        "workers.action.jobs.act",
        "workers.action.jobs.forward",
        "workers.action.letters.retry",
        "workers.action.messages.send",
        "workers.action.reports.report",
    }
)
"""The functions a job may name. The action worker runs no other, whatever somebody writes into Redis."""

Command: TypeAlias = tuple[Argument, ...]


class JsonSerializer:
    """JSON by msgspec, as `rq -S` and rq-dashboard want a serializer; what was pickled is an error, never unpickled."""

    @staticmethod
    def dumps(value: Any, /) -> bytes:
        """Return `value` as JSON."""
        return msgspec.json.encode(value)

    @staticmethod
    def loads(data: bytes, /) -> Any:
        """Return what `dumps` was given, tuples as lists."""
        return msgspec.json.decode(data)


class Recorder:
    """A redis-py pipeline that RQ's code writes into and that is never executed."""

    def __init__(self, client: redis.Redis) -> None:
        self.pipeline: Pipeline = client.pipeline(transaction=False)

    def start(self) -> Pipeline:
        """Return the pipeline, empty."""
        self.pipeline.command_stack = []
        return self.pipeline

    def take(self) -> list[Command]:
        """Return the commands written since `start`."""
        commands = [cast("Command", entry[0]) for entry in self.pipeline.command_stack]
        self.pipeline.command_stack = []
        return commands


def _queue(name: str, recorder: Recorder) -> Queue:
    queue = Queue(name, connection=recorder.pipeline, serializer=JsonSerializer)
    queue.redis_server_version = (7, 2, 0)  # otherwise RQ would ask the server, here the recorder
    return queue


_recorder: Final = Recorder(redis.Redis())  # connects to nothing: a client connects when it executes
_queues: Final = {name: _queue(name, _recorder) for name in QUEUES}
_push_if_new: Final = Script(UNIQUE_ENQUEUE_SCRIPT)


def commands_for(
    queue: str,
    function: str,
    args: Sequence[Any],
    *,
    job_id: str,
    timeout_s: int = 20,
    result_ttl_s: int = 600,
    failure_ttl_s: int = 86_400,
    retries: int | None = None,
) -> list[Command]:
    """Return the commands with which RQ enqueues a job under a new id; the last one, EVALSHA, answers 1 if it was new.

    The id (letters, digits, `_` and `-`) is taken for as long as Redis keeps the job: while it waits and runs, then for
    `result_ttl_s` or `failure_ttl_s`. `retries`, by default those of its queue, is how often RQ starts the job again:
    at once if it raised, after a while if its worker died. Arguments are ids and numbers, never SDP: the dashboard
    shows them.

    Raises:
        ValueError: the queue is none of `QUEUES`, the function is not in `ALLOWED`, or the id is malformed.
    """
    if function not in ALLOWED:
        raise ValueError(f"cannot enqueue {function}: the action worker runs only {', '.join(sorted(ALLOWED))}")
    if queue not in _queues:
        raise ValueError(f"cannot enqueue on {queue}: the action worker serves only {', '.join(QUEUES)}")
    retries = RETRIES[queue] if retries is None else retries
    _queues[queue].enqueue_call(
        function,
        args=tuple(args),
        timeout=timeout_s,
        result_ttl=result_ttl_s,
        failure_ttl=failure_ttl_s,
        description=function,  # RQ's own would hold the arguments
        job_id=job_id,
        retry=Retry(max=retries) if retries else None,
        unique=True,
        pipeline=_recorder.start(),
    )
    return _recorder.take()


async def enqueue(wire: Wire, queue: str, function: str, args: Sequence[Any], *, job_id: str, **options: int) -> bool:
    """Enqueue a job unless its id is taken, and return whether it was free; `options` are those of `commands_for`.

    Raises:
        RedisAway: the job may or may not be enqueued; asking again with the same id does no harm.
    """
    register_queue, (_, _, key_count, *rest) = commands_for(queue, function, args, job_id=job_id, **options)
    keys, values = rest[: int(key_count)], rest[int(key_count) :]
    _, is_new = await asyncio.gather(wire.send(*register_queue), _push_if_new.run(wire, keys, values))
    return bool(is_new)


async def depths(wire: Wire) -> dict[str, int]:
    """Return how many jobs wait on each queue."""
    lengths = await asyncio.gather(*(wire.send("LLEN", _queues[name].key) for name in QUEUES))
    return dict(zip(QUEUES, map(int, lengths), strict=True))
