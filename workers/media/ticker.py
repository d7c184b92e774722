"""The 20 ms tick that drives every call's sound, and notices when the process stood still."""

import asyncio
from collections.abc import Callable
from typing import Final

from shared.clock import boot_ms, monotonic_s
from workers.media.load import Load

TICK_S: Final = 0.02


class Ticker:
    """Calls `tick` every 20 ms. Ticks that were missed are made up for, up to a few; more than that is skipped."""

    MADE_UP_FOR: Final = 5

    def __init__(
        self,
        tick: Callable[[], None],
        *,
        frozen_after_ms: int,
        on_frozen: Callable[[], None],
        every_s: float = TICK_S,
    ) -> None:
        self._tick = tick
        self._every_s = every_s
        self._frozen_after_ms = frozen_after_ms
        self._on_frozen = on_frozen
        self._last_ms = boot_ms()
        self.load = Load(every_s)

    @property
    def froze(self) -> bool:
        """Tell whether the process stood still for longer than its lease, as far as is known before the next tick."""
        return boot_ms() - self._last_ms > self._frozen_after_ms

    async def run(self) -> None:
        """Tick until cancelled."""
        due_s = (monotonic_s() // self._every_s + 1) * self._every_s  # when the intake looks: one waking for both
        while True:
            await asyncio.sleep(due_s - monotonic_s())
            if self.froze:
                self._on_frozen()
            self._last_ms = boot_ms()
            now_s = monotonic_s()
            self.load.note(now_s - due_s)
            if now_s - due_s > self.MADE_UP_FOR * self._every_s:
                due_s = now_s
            while due_s <= now_s:
                self._tick()
                due_s += self._every_s
