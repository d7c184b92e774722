"""What arrived, as columns of numbers, and what that says about each call."""

from typing import Any, Final, NamedTuple

import numpy as np

MISSING_AT_MOST: Final = 0.01
P99_GAP_AT_MOST_MS: Final = 60.0
PACKETS_PER_S: Final = 50

Numbers = np.ndarray[Any, Any]


class Arrivals:
    """RTP packets that arrived: of which call, with which sequence number, when (Unix ns)."""

    def __init__(self, expected: int) -> None:
        self._calls = np.zeros(expected, np.uint32)
        self._sequences = np.zeros(expected, np.uint16)
        self._stamps_ns = np.zeros(expected, np.int64)
        self._count = 0

    def add(self, calls: Numbers, sequences: Numbers, stamps_ns: Numbers) -> None:
        """Note a batch; what goes beyond twice what was expected is left out."""
        end = self._count + len(calls)
        if end > len(self._calls):
            self._calls, self._sequences, self._stamps_ns = (
                np.concatenate([column, np.zeros_like(column)])
                for column in (self._calls, self._sequences, self._stamps_ns)
            )
        self._calls[self._count : end] = calls
        self._sequences[self._count : end] = sequences
        self._stamps_ns[self._count : end] = stamps_ns
        self._count = end

    def flows(self, calls: list[int], seconds: float) -> list["Flow"]:
        """Return what each of these calls received in that time."""
        heard = self._calls[: self._count]
        order = np.argsort(heard, kind="stable")
        bounds = np.searchsorted(heard[order], [calls, [call + 1 for call in calls]])
        spans = [order[start:end] for start, end in bounds.T]
        return [
            flow(call, self._sequences[span], self._stamps_ns[span], seconds)
            for call, span in zip(calls, spans, strict=True)
        ]


class Flow(NamedTuple):
    """What one call received."""

    call: int
    packets: int
    missing: float
    """Share of the packets that a steady sender would have sent."""
    p99_gap_ms: float
    max_gap_ms: float

    @property
    def held(self) -> bool:
        """Whether nobody would have noticed."""
        return self.missing < MISSING_AT_MOST and self.p99_gap_ms < P99_GAP_AT_MOST_MS


def flow(call: int, sequences: Numbers, stamps_ns: Numbers, seconds: float) -> Flow:
    """Judge a call by its packets, in the order of their arrival; one that came twice counts once."""
    packets = len(np.unique(sequences))
    if packets < 2:
        return Flow(call, packets, 1.0, seconds * 1000, seconds * 1000)
    gaps_ms = np.sort(np.diff(stamps_ns)) / 1e6
    p99_ms = float(gaps_ms[int(0.99 * len(gaps_ms))])
    missing = max(0.0, 1 - packets / (seconds * PACKETS_PER_S))
    return Flow(call, packets, missing, p99_ms, float(gaps_ms[-1]))
