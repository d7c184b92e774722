"""How many jobs may run at once, and who may have the last slots."""

import asyncio


class Slots:
    """Counts the jobs that run and the fetchers that wait for one; some slots are kept for the most urgent queue."""

    def __init__(self, total: int, *, kept: int) -> None:
        self._total = total
        self._kept = kept
        self._taken = 0
        self._paused = False
        self._closed = False
        self._changed = asyncio.Event()

    async def take(self, *, urgent: bool) -> bool:
        """Wait for a slot and take it; False when none will be given any more."""
        limit = self._total if urgent else self._total - self._kept
        while not self._closed:
            if self._taken < limit and not self._paused:
                self._taken += 1
                return True
            self._changed.clear()
            await self._changed.wait()
        return False

    def give_back(self) -> None:
        """Free a slot."""
        self._taken -= 1
        self._changed.set()

    @property
    def paused(self) -> bool:
        """Whether nobody gets a slot for the time being."""
        return self._paused

    def pause(self, paused: bool) -> None:
        """Give no slots, or give them again."""
        self._paused = paused
        self._changed.set()

    def close(self) -> None:
        """Give no slots any more."""
        self._closed = True
        self._changed.set()
