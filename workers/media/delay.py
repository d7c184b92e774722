"""How much sound a jitter buffer has to hold: enough for how unevenly packets come, and one packet more where some are
lost, for in-band FEC brings a lost packet back from the one after it.

Pure: times come in as arguments, in seconds of any steady clock.
"""

from collections import deque

FIRST_MS = 20.0  # until the path is known: two packets
LOWEST_MS, HIGHEST_MS = 20.0, 200.0  # a packet has to be here whole
FEC_MS = 20.0
TRANSITS, EVERY, QUANTILE = 150, 25, 0.95
LOSS_COUNTS_FOR = 20 * EVERY  # packets: some ten seconds


class DelayTarget:
    """The depth to aim for, in `ms`."""

    def __init__(self) -> None:
        self.ms = FIRST_MS
        self._jitter_ms = FIRST_MS - LOWEST_MS
        self._lossy = 0  # packets for which the last loss still counts
        self.forget()

    def forget(self) -> None:
        """Begin with another stream, whose times are not comparable; what is known of the path stays."""
        self._transits: deque[float] = deque(maxlen=TRANSITS)
        self._seen = 0

    def arrived(self, transit_s: float) -> None:
        """Take a packet's time of arrival, less its place in the stream."""
        self._transits.append(transit_s)
        self._seen += 1
        self._lossy = max(0, self._lossy - 1)
        if self._seen % EVERY == 0:
            transits = sorted(self._transits)
            self._jitter_ms = (transits[int(len(transits) * QUANTILE)] - transits[0]) * 1000
            self._aim()

    def lost(self) -> None:
        """Take note that a packet never came."""
        self._lossy = LOSS_COUNTS_FOR
        self._aim()

    def _aim(self) -> None:
        """Aim for what would have had 95 % of the last three seconds' packets here in time."""
        self.ms = min(HIGHEST_MS, LOWEST_MS + self._jitter_ms + (FEC_MS if self._lossy else 0.0))
