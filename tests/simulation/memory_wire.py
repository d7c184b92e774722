"""`shared.wire.Wire`, leading to a `MemoryRedis` in this process instead of to a server."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from shared.redis_address import Address
from shared.wire import Argument, Reply, ReplyError, Wire
from tests.simulation.memory_redis import GiveUp, MemoryRedis

Answer: TypeAlias = Callable[[Reply | Exception], None]
Step: TypeAlias = Callable[[Answer], GiveUp | None]

TAKE_BLOCK_S: Final = 2.0
"""How long a worker's request for a job waits (`tests/simulation/queues.py`)."""


class MemoryWire(Wire):
    """A wire that never breaks: each command is carried out at once."""

    def __init__(self, server: MemoryRedis, *, name: str = "memory") -> None:
        super().__init__(Address.from_url("redis://memory"), name=name)
        self.server = server

    @property
    def connected(self) -> bool:
        """See `Wire`."""
        return True

    async def connect(self) -> None:
        """See `Wire`."""

    async def close(self) -> None:
        """See `Wire`."""

    def send(self, *args: Argument, timeout_s: float | None = None) -> asyncio.Future[Reply]:
        """See `Wire`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.carry(lambda answer: perform(self.server, args, answer), future, timeout_s)
        return future

    async def call(self, *args: Argument, timeout_s: float | None = None) -> Reply:
        """See `Wire`."""
        return await self.send(*args, timeout_s=timeout_s)

    async def transaction(
        self, commands: Sequence[Iterable[Argument]], *, timeout_s: float | None = None
    ) -> list[Reply]:
        """See `Wire`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        taken = [tuple(command) for command in commands]
        self.carry(lambda answer: answer([self.server.run(*command) for command in taken]), future, timeout_s)
        replies: list[Reply] = await future
        return replies

    def carry(self, step: Step, future: asyncio.Future[Reply], timeout_s: float | None) -> None:
        """Bring a step to the server and its answer back."""
        step(lambda reply: settle(future, reply))


def perform(server: MemoryRedis, args: tuple[Argument, ...], answer: Answer) -> GiveUp | None:
    """Carry out one command on the server; one that waits returns how to end its waiting, which its time limit does."""
    wait = _wait_of(args)
    try:
        if wait is None:
            answer(server.run(*args))
            return None
        give_up = server.run_when_rung(wait.bell, args, answer)
    except ReplyError as refused:
        answer(refused)
        return None
    asyncio.get_running_loop().call_later(wait.for_s, give_up)
    return give_up


class _Wait(NamedTuple):
    bell: bytes
    for_s: float


def _wait_of(args: tuple[Argument, ...]) -> _Wait | None:
    match args:
        case ("XREAD", *_, "BLOCK", int(block_ms), "STREAMS", str(key), _):
            return _Wait(key.encode(), block_ms / 1000)
        case ("job.take",):
            return _Wait(b"job.take", TAKE_BLOCK_S)
        case _:
            return None


def settle(future: asyncio.Future[Reply], reply: Reply | Exception) -> None:
    """Give a reply to whoever still waits for it."""
    if future.done():
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)
