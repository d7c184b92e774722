"""What all pages of this web process share: one look at the desk for all, and one reader of their calls' logs."""

import asyncio
from typing import TYPE_CHECKING, Final

from shared import log
from shared.bus import Bus
from shared.desk.floor import Floor, Look
from shared.errors import RedisAway
from shared.settings import Settings
from shared.wire import Wire

if TYPE_CHECKING:
    from ingress.desk_seat import SeatHeld

LOOK_EVERY_S: Final = 2.0
"""Besides when something changes: for leases that end in silence."""
PAUSE_S: Final = 0.5

_log = log.get()


class Hub:
    """The pages that are connected here, and what they are told of."""

    def __init__(self, bus: Bus, settings: Settings) -> None:
        self.bus = bus
        self.floor = Floor(bus)
        self.settings = settings
        self.seats: set[SeatHeld] = set()
        self._occupied = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def enter(self, seat: "SeatHeld") -> None:
        """Tell a page from now on."""
        self.seats.add(seat)
        self._occupied.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="desk")

    def leave(self, seat: "SeatHeld") -> None:
        """Tell it no longer."""
        self.seats.discard(seat)
        if not self.seats:
            self._occupied.clear()

    async def close(self) -> None:
        """Stop, and let the pages go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def look(self) -> Look:
        """Look at the desk and tell all pages."""
        look = await self.floor.look()
        for seat in tuple(self.seats):
            seat.show(look)
        return look

    async def _run(self) -> None:
        while True:
            await self._occupied.wait()
            try:
                async with Wire.from_url(self.settings.required_redis_url, name="pageline-desk") as wire:
                    await self._follow(Floor(Bus(wire)))
            except RedisAway:
                pass
            except Exception:  # noqa: BLE001 whatever it is, the agents who are here must go on hearing of it
                _log.exception("desk.broken")
            await asyncio.sleep(PAUSE_S)

    async def _follow(self, news: Floor) -> None:
        mark = "0-0"
        while self.seats:
            await self.look()
            calls: dict[str, int] = {}
            for call_id, seq in (seat.following for seat in self.seats if seat.following is not None):
                calls[call_id] = min(seq, calls.get(call_id, seq))
            told = await news.news(mark, calls, within_s=LOOK_EVERY_S)
            mark = told.mark
            for seat in tuple(self.seats):
                for call_id, entries in told.logs.items():
                    seat.read(call_id, entries)
