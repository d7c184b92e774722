"""Legs whose offers are made before anybody rings, so that no caller waits for sockets, a certificate and an SDP."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from shared.clock import monotonic_s
from workers.media.leg import Leg, LegFailed

RENEWED_AFTER_S: Final = 15.0
"""A spare leg is replaced when it is older; addresses may change under it."""
REFILL_AFTER_S: Final = 0.03
"""A new spare is made when the call that took the last one has had its turn."""
KEPT: Final = 4


class Offered(NamedTuple):
    """A leg and its complete offer."""

    leg: Leg
    offer: str


class SpareLegs:
    """Keeps a few legs ready; hands one out at once, or makes one."""

    def __init__(self, make: Callable[[], Leg]) -> None:
        self._make = make
        self._spares: deque[tuple[float, Offered]] = deque()
        self._wanted = asyncio.Event()
        self._wanted.set()

    async def take(self) -> Offered:
        """Return a leg with its offer.

        Raises:
            LegFailed: none could be made.
        """
        self._wanted.set()
        return self._spares.popleft()[1] if self._spares else await self._offered()

    async def refill(self) -> None:
        """Keep the spares complete and fresh until cancelled, then close them."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RENEWED_AFTER_S):
                        await self._wanted.wait()
                self._wanted.clear()
                await self._renew()
        finally:
            for _, offered in self._spares:
                await offered.leg.close()

    async def _renew(self) -> None:
        while self._spares and monotonic_s() - self._spares[0][0] > RENEWED_AFTER_S:
            await self._spares.popleft()[1].leg.close()
        while len(self._spares) < KEPT:
            await asyncio.sleep(REFILL_AFTER_S)
            try:
                self._spares.append((monotonic_s(), await self._offered()))
            except LegFailed:
                break  # the call that needs one says why

    async def _offered(self) -> Offered:
        leg = self._make()
        try:
            return Offered(leg, await leg.offer())
        except BaseException:
            leg.mute_forever()
            raise
