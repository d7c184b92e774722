"""How late the ticks run: the one sign that a media worker has more to do than it can.

A busy processor is no such sign: as long as the ticks are in time nobody hears it. The consumer's jitter buffer bears
packets 40 to 80 ms late; ticks that often run 20 ms late leave half of that to the network, and one more call makes
them later. Pure: lateness comes in as an argument, and time is counted in ticks.
"""

from collections import deque
from itertools import islice
from typing import Final

from shared import log

TICKS_PER_S: Final = 50

TOO_LATE_S: Final = 0.020
"""Overloaded: of the last two seconds' ticks more than one in twenty ran later than this."""
OVERLOADED_WINDOW: Final = 2 * TICKS_PER_S
IN_TIME_S: Final = 0.010
"""Recovered: of the last five seconds' ticks at least nineteen in twenty ran earlier than this."""
RECOVERED_WINDOW: Final = 5 * TICKS_PER_S
QUANTILE: Final = 0.95
STALL_TICKS: Final = 2
"""Of one stall so many ticks count as late, however long it was. Two stalls in a hundred ticks are then no load, which
fewer calls would not prevent: processes that start beside us make them, a neighbour of the machine, a collection."""


class Load:
    """Whether this worker can take more calls, judged by how late its ticks run."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._late_s: deque[float] = deque(maxlen=RECOVERED_WINDOW)
        """Of each tick, the latest last."""
        self._log = log.get()
        self.overloaded = False

    def note(self, late_s: float) -> None:
        """Note that the loop came to a tick so late; the next one, if it was due meanwhile, is late as well."""
        for _ in range(STALL_TICKS):
            if late_s < 0:  # nothing is due yet: timers count in whole milliseconds and may fire early
                return
            self._late_s.append(late_s)
            late_s -= self._every_s

    def slots(self, capacity: int, held: int) -> int:
        """Return how many calls to ask for: as many as we may hold, or none, so that those held go on sounding well.

        Who holds none takes one, however busy the machine is with other things: poor sound is better than no answer.

        Called once a second; says so when that changes.
        """
        lately_s, longer_s = self._usual_s(OVERLOADED_WINDOW), self._usual_s(RECOVERED_WINDOW)
        if not self.overloaded and lately_s > TOO_LATE_S:
            self.overloaded = True
            self._log.warning("worker.overloaded", **self._figures())
        elif self.overloaded and len(self._late_s) == RECOVERED_WINDOW and longer_s < IN_TIME_S:
            self.overloaded = False
            self._log.info("worker.recovered", **self._figures())
        return capacity if not self.overloaded else 0 if held else 1

    def late_ms(self) -> tuple[float, float]:
        """Return how late the last five seconds' ticks ran: all but the latest twentieth, and the latest of all."""
        return round(self._usual_s(len(self._late_s)) * 1000, 1), round(max(self._late_s, default=0.0) * 1000, 1)

    def _usual_s(self, ticks: int) -> float:
        """Return how late all but the latest twentieth of so many ticks ran; 0 where too few are known."""
        if not 0 < ticks <= len(self._late_s):
            return 0.0
        return sorted(islice(reversed(self._late_s), ticks))[int(ticks * QUANTILE)]

    def _figures(self) -> dict[str, float]:
        return {
            "late_p95_ms": round(self._usual_s(OVERLOADED_WINDOW) * 1000, 1),
            "late_max_ms": round(max(self._late_s) * 1000, 1),
        }
