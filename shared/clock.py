"""Clocks: the wall clock for what Meta sees, the boot-time clock for leases (it also runs while a machine sleeps)."""

import time

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def unix_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def boot_ms() -> int:
    """Return milliseconds since boot, counting those during which the machine or process was stopped."""
    if _BOOTTIME is None:  # macOS: time.monotonic() counts sleep there
        return time.monotonic_ns() // 1_000_000
    return time.clock_gettime_ns(_BOOTTIME) // 1_000_000
