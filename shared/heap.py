"""Keeps the garbage collector away from what stays for good."""

import gc


def settle() -> None:
    """Take everything that is alive now out of later collections; call it once, when a process has started up.

    A full collection over all that was imported takes 10 ms on a quiet machine and up to 90 on a busy one, and stops
    every call of the process that long; without it about one (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
