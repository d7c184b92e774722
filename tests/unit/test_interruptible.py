"""The end of a call as the handler meets it: `CallEnded` at whatever it awaits, and time for its `finally`.

Through `Host`, which runs handlers on a loop in a thread of their own, as a media worker does.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, cast

import pytest

from shared.handling import Call, CallEnded, Handler, Holder
from workers.media.host import Host

WITHIN_S = 10.0


class Ending(NamedTuple):
    """What the host says of a handler that is over."""

    how: str
    error: str
    traceback: str


class Line:
    """A host and the one call on it."""

    def __init__(self) -> None:
        self.host = Host(asyncio.get_running_loop())
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, handler: Handler) -> None:
        # no handler here does anything with its call but end with it
        call = Call(cast("Holder", None), call_id="c_1", page="1", caller="2", direction="user_initiated", epoch=1)
        self.host.start(call, handler, lambda *how: self.ended.set_result(Ending(*how)))

    def now_waiting(self) -> None:
        """Say, from the handler, that its next await is the one to interrupt."""
        self.host.soon_on_media_loop(self._waits.set_result, None)

    async def end_the_call_once_it_waits(self, outcome: str = "completed") -> None:
        async with asyncio.timeout(WITHIN_S):
            await self._waits
        self.host.stop("c_1", outcome)

    async def ending(self) -> Ending:
        async with asyncio.timeout(WITHIN_S):
            return await self.ended


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    line.host.open()
    yield line
    line.host.close()


async def for_ever() -> None:
    await asyncio.Event().wait()


async def in_a_timeout() -> None:
    async with asyncio.timeout(60):
        await for_ever()


async def in_wait_for() -> None:
    await asyncio.wait_for(for_ever(), 60)


async def in_a_task() -> None:
    await asyncio.create_task(for_ever())


async def in_gather() -> None:
    await asyncio.gather(for_ever(), for_ever())


async def in_the_body_of_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(for_ever())
        await for_ever()


async def at_the_end_of_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(for_ever())


async def in_a_queue() -> None:
    await asyncio.Queue[int]().get()


async def in_sleep() -> None:
    await asyncio.sleep(60)  # is interrupted


async def in_a_thread() -> None:
    await asyncio.to_thread(int)
    await for_ever()


async def in_an_async_generator() -> None:
    async def frames() -> AsyncIterator[int]:
        yield 1
        await for_ever()

    async for _ in frames():
        pass


async def in_a_lock() -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


PLACES: list[Callable[[], Awaitable[None]]] = [
    for_ever,
    in_a_timeout,
    in_wait_for,
    in_a_task,
    in_gather,
    in_the_body_of_a_task_group,
    at_the_end_of_a_task_group,
    in_a_queue,
    in_sleep,
    in_a_thread,
    in_an_async_generator,
    in_a_lock,
]


@pytest.mark.parametrize("wait", PLACES, ids=lambda place: place.__name__)
async def test_call_ended_is_raised_at_any_await(line: Line, wait: Callable[[], Awaitable[None]]) -> None:
    outcomes: list[str] = []

    async def handler(_call: Call) -> None:
        line.now_waiting()
        try:
            await wait()
        except* CallEnded as group:
            outcomes.extend(ended.outcome for ended in group.exceptions if isinstance(ended, CallEnded))
            raise

    line.start(handler)
    await line.end_the_call_once_it_waits("cancelled")

    assert (await line.ending()).how == "cancelled"
    assert outcomes == ["cancelled"]


@pytest.mark.parametrize("wait", [place for place in PLACES if "body_of" not in place.__name__])
async def test_a_plain_except_catches_it_and_the_handler_may_return(
    line: Line, wait: Callable[[], Awaitable[None]]
) -> None:
    async def handler(_call: Call) -> None:
        line.now_waiting()
        with pytest.raises(CallEnded, match="missed"):
            await wait()

    line.start(handler)
    await line.end_the_call_once_it_waits("missed")

    assert await line.ending() == Ending("returned", "", "")


@pytest.mark.parametrize("in_body", [True, False], ids=["in its body", "at its end"])
async def test_the_children_of_a_task_group_end_before_the_handler_does(line: Line, in_body: bool) -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            ended.append("child")

    async def handler(_call: Call) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(0)
                line.now_waiting()
                if in_body:
                    await for_ever()
        finally:
            ended.append("handler")

    line.start(handler)
    await line.end_the_call_once_it_waits()

    assert (await line.ending()).how == "cancelled"
    assert ended == ["child", "handler"]


async def test_finally_gets_its_time(line: Line) -> None:
    done: list[str] = []

    async def handler(_call: Call) -> None:
        line.now_waiting()
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.05)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0.01))
            done.append("saved")

    line.start(handler)
    await line.end_the_call_once_it_waits()

    assert (await line.ending()).how == "cancelled"
    assert done == ["saved"]


async def test_a_timeout_in_finally_is_a_timeout(line: Line) -> None:
    seen: list[str] = []

    async def handler(_call: Call) -> None:
        line.now_waiting()
        try:
            await for_ever()
        finally:
            try:
                async with asyncio.timeout(0.01):
                    await for_ever()
            except TimeoutError:
                seen.append("timeout")

    line.start(handler)
    await line.end_the_call_once_it_waits()

    assert (await line.ending()).how == "cancelled"
    assert seen == ["timeout"]


async def test_a_finally_that_never_ends_is_ended_after_its_grace(line: Line) -> None:
    async def handler(_call: Call) -> None:
        line.now_waiting()
        try:
            await for_ever()
        finally:
            await for_ever()

    line.start(handler)
    await line.end_the_call_once_it_waits()

    assert (await line.ending()).how == "cancelled"


async def test_the_timeouts_of_a_handler_are_its_own_while_the_call_goes_on(line: Line) -> None:
    async def handler(_call: Call) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await for_ever()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(for_ever(), 0.01)

    line.start(handler)

    assert await line.ending() == Ending("returned", "", "")


async def test_a_failing_child_ends_its_group_and_not_the_call(line: Line) -> None:
    async def fails() -> None:
        raise ValueError("a bug in the handler")

    async def in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            await for_ever()

    async def handler(_call: Call) -> None:
        with pytest.raises(ExceptionGroup) as raised:
            await in_a_group()
        assert [type(error) for error in raised.value.exceptions] == [ValueError]

    line.start(handler)

    assert await line.ending() == Ending("returned", "", "")


async def test_a_handler_that_raises_says_what_and_where(line: Line) -> None:
    async def handler(_call: Call) -> None:
        raise ValueError("a bug in the handler")

    line.start(handler)

    how, error, traceback = await line.ending()
    assert (how, error) == ("raised", "ValueError: a bug in the handler")
    assert "in handler" in traceback


async def test_what_fails_in_finally_is_not_hidden_by_the_end_of_the_call(line: Line) -> None:
    async def handler(_call: Call) -> None:
        line.now_waiting()
        try:
            await for_ever()
        finally:
            raise ValueError("a bug in the handler")

    line.start(handler)
    await line.end_the_call_once_it_waits()

    assert (await line.ending()).error == "ValueError: a bug in the handler"


async def test_stopping_a_call_that_has_no_handler_does_nothing(line: Line) -> None:
    line.host.stop("c_unknown", "completed")

    async def handler(_call: Call) -> None:
        await asyncio.sleep(0)

    line.start(handler)
    assert (await line.ending()).how == "returned"
