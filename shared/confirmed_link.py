"""A connection on which a command counts as done once enough replicas hold what it wrote."""

import asyncio
import contextlib
from functools import partial
from typing import Final, TypeAlias

from shared.errors import RedisAway
from shared.link import TEARDOWN_S, Link, Reply, ReplyError, pack

CONFIRM_WITHIN_S: Final = 0.5
"""How long the replicas have; well below the time limit of a command, since the next ones wait behind these."""

_Held: TypeAlias = list[tuple[asyncio.Future[Reply], asyncio.Future[Reply]]]
"""What Redis answered, and whom to tell once the replicas have it."""


class ConfirmedLink(Link):
    """One connection that keeps replies back until `replicas` of them hold all that was written before.

    What was submitted while the replicas are asked leaves together after that, so there is one question for many
    commands. Replicas that do not confirm fail everything in flight and end the connection: whoever they follow now, it
    may be another server. What was written may be kept or not.
    """

    def __init__(self, address: str, replicas: int) -> None:
        super().__init__(address)
        self._replicas = replicas
        # A client's WAIT waits for its own writes alone, and a repeated step may write nothing: so something is said.
        self._question = pack(("PUBLISH", "pageline-confirm", "")) + pack(
            ("WAIT", replicas, int(CONFIRM_WITHIN_S * 1000))
        )
        self._held: _Held = []
        self._asking = False
        self._quiet = asyncio.Event()
        """Nothing waits for replicas."""
        self._quiet.set()

    def submit(self, packed: bytes, future: asyncio.Future[Reply], skipped: int, timeout_s: float) -> None:
        """Write soon; the future gets its reply when the replicas have confirmed."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        super().submit(packed, reply, skipped, timeout_s)
        self._held.append((reply, future))
        self._quiet.clear()

    def _flush(self) -> None:
        if self._asking:
            return
        if self._held:
            self._ask()
        super()._flush()

    def _ask(self) -> None:
        batch, self._held = self._held, []
        said: asyncio.Future[Reply] = self._loop.create_future()
        confirmed: asyncio.Future[Reply] = self._loop.create_future()
        confirmed.add_done_callback(partial(self._settle, batch, said))
        _, due = self._waiting[-1]
        self._waiting.extend([(said, due), (confirmed, due + 2 * CONFIRM_WITHIN_S)])
        self._unsent.append(self._question)
        self._asking = True

    def _settle(self, batch: _Held, said: asyncio.Future[Reply], confirmed: asyncio.Future[Reply]) -> None:
        self._asking = False
        failures = said.exception(), confirmed.exception()
        failure = failures[0] or failures[1]
        if failure is None and confirmed.result() < self._replicas:
            why = (
                f"Redis at {self._address} did it, but {confirmed.result()} of its replicas confirmed within "
                f"{CONFIRM_WITHIN_S:g} s, and REDIS_WAIT_REPLICAS wants {self._replicas}"
            )
            failure = RedisAway(f"{why}; it may be lost")
            self.abort(ConnectionError(why))
        elif isinstance(failure, ReplyError):
            failure = RedisAway(f"Redis at {self._address} does not let us ask its replicas: {failure}")
        _tell(batch, failure)
        self._flush()
        if not self._asking:
            self._quiet.set()

    async def close(self) -> None:
        """Let replicas confirm what was submitted, for a moment, and hang up: a server drops what waits behind WAIT."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TEARDOWN_S):
                await self._quiet.wait()
        await super().close()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail everything in flight and what had not left (asyncio calls this)."""
        super().connection_lost(error)
        held, self._held = self._held, []
        _tell(held, None)
        self._quiet.set()


def _tell(batch: _Held, failure: BaseException | None) -> None:
    for reply, future in batch:
        error = reply.exception() or failure
        if future.done():
            continue
        if error is None:
            future.set_result(reply.result())
        else:
            future.set_exception(error)
