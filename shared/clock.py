"""Clocks: the wall clock for what Meta sees, the boot-time clock for leases (it also runs while a machine sleeps).

Whoever has to say what time it is asks here, so that a simulation can have all of it run on one clock of its own.
"""

import time
from typing import Protocol

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """What tells the time."""

    def unix_ms(self) -> int:
        """Return the wall clock, Unix milliseconds."""

    def boot_ms(self) -> int:
        """Return milliseconds since boot, counting those during which the machine or process was stopped."""

    def monotonic_s(self) -> float:
        """Return seconds from some beginning, never going back."""


class SystemClock:
    """The machine's own clocks."""

    def unix_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """See `Clock`."""
        if _BOOTTIME is None:  # macOS: time.monotonic() counts sleep there
            return time.monotonic_ns() // 1_000_000
        return time.clock_gettime_ns(_BOOTTIME) // 1_000_000

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.monotonic()


_clock: Clock = SystemClock()


def use(clock: Clock) -> None:
    """Tell the time by another clock from now on."""
    global _clock  # noqa: PLW0603 one process lives in one time
    _clock = clock


def unix_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return _clock.unix_ms()


def boot_ms() -> int:
    """Return milliseconds since boot, counting those during which the machine or process was stopped."""
    return _clock.boot_ms()


def monotonic_s() -> float:
    """Return seconds from some beginning, never going back."""
    return _clock.monotonic_s()
