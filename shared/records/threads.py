"""Threads for what sinks wait for: disks and databases. A sink that hangs fills its own, and nobody else's.

The event loop's own threads look names up, Graph's among them: what hangs there would keep callers waiting.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple

AT_ONCE: Final = 4

Given = TypeVarTuple("Given")
T = TypeVar("T")


class Threads:
    """The threads of one sink."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="records")

    async def run(self, work: Callable[[*Given], T], *given: *Given) -> T:
        """Do work in one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)

    def close(self) -> None:
        """Let them end when they are done."""
        self._pool.shutdown(wait=False)
