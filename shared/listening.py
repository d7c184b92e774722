"""Whether the consumer speaks: by the energy of what is heard, with no model and no memory."""

import asyncio
import contextlib
import math
from array import array
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.handling import Frame, Rate

QUIET_DB: Final = -45.0
"""Speech on a telephone has -35 to -15 dB, a quiet room less than -55."""
VOICE_FRAMES: Final = 3
"""So many loud frames on end, 60 ms, are a voice; fewer are a click."""
NOTHING_DB: Final = -96.0
"""What no sample of 16 bits can go below."""


def level_db(pcm: bytes) -> float:
    """Return how loud 16-bit mono is: its root mean square in dB, of which full scale is 0; at least -96."""
    samples = array("h", pcm)
    energy = sum(sample * sample for sample in samples)
    if not energy:
        return NOTHING_DB
    return max(NOTHING_DB, 10 * math.log10(energy / len(samples) / 32768**2))


class Listening:
    """The verbs of a `Call` that wait for the consumer to speak or to fall silent."""

    def hear(self, rate: "Rate" = 48000) -> AsyncIterator["Frame"]:
        """See `Call.hear`."""
        raise NotImplementedError

    async def speech(self, *, timeout_s: float, quiet_db: float = QUIET_DB, rate: "Rate" = 16000) -> bool:
        """Wait until the consumer speaks: 60 ms on end above `quiet_db`. Return whether that was within `timeout_s`.

        Args:
            timeout_s: how long to wait at most.
            quiet_db: what is as loud or louder is a voice; `Frame.level_db` tells levels.
            rate: at which the call is heard meanwhile, Hz.

        Raises:
            ValueError: the call is heard at another rate just now.
        """
        now_s = asyncio.get_running_loop().time
        spoken = False

        def voice() -> float:
            nonlocal spoken
            spoken = True
            return now_s()

        await self._hear_until(now_s() + timeout_s, voice, quiet_db, rate)
        return spoken

    async def silence(
        self, for_s: float, *, timeout_s: float, quiet_db: float = QUIET_DB, rate: "Rate" = 16000
    ) -> bool:
        """Wait until the consumer has not spoken for `for_s` seconds; otherwise as `speech`."""
        now_s = asyncio.get_running_loop().time
        end_s = now_s() + timeout_s
        silent_s = now_s() + for_s

        def voice() -> float:
            nonlocal silent_s
            silent_s = now_s() + for_s
            return min(silent_s, end_s)

        await self._hear_until(min(silent_s, end_s), voice, quiet_db, rate)
        return silent_s <= end_s

    async def _hear_until(self, until_s: float, voice: Callable[[], float], quiet_db: float, rate: "Rate") -> None:
        """Hear until a time of the loop's; whenever the consumer speaks, `voice` says until when from there."""
        loud = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until_s) as patience:
                async for frame in self.hear(rate):  # closed by the cancellation, which finds it waiting for a frame
                    loud = loud + 1 if frame.level_db >= quiet_db else 0
                    if loud >= VOICE_FRAMES:
                        patience.reschedule(voice())
