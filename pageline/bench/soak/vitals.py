"""What a process weighs over time, and whether it stays so: memory, threads, descriptors, tasks."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

MIB: Final = 1 << 20


class Vitals(msgspec.Struct, frozen=True):
    """One look at one process; the last two are none where nobody looks inside."""

    rss_mib: float
    uss_mib: float
    """Memory that would be free if the process ended: what is its own."""
    threads: int
    descriptors: int
    tasks: int | None = None
    objects: int | None = None
    """What Python's collector keeps track of, in thousands."""

    def without(self, kept_bytes: int) -> "Vitals":
        """Return these without what the process keeps for us: data grows with every call until it expires."""
        kept_mib = kept_bytes / MIB
        return msgspec.structs.replace(self, rss_mib=self.rss_mib - kept_mib, uss_mib=self.uss_mib - kept_mib)


class Tolerance(msgspec.Struct, frozen=True):
    """How much more there may be at the end: the larger of the two, in the figure's unit and as a share."""

    more: float
    share: float


TOLERANCES: Final = {
    "rss_mib": Tolerance(more=4.0, share=0.05),
    "uss_mib": Tolerance(more=4.0, share=0.05),
    "threads": Tolerance(more=1, share=0.0),
    "descriptors": Tolerance(more=4, share=0.1),
    "tasks": Tolerance(more=6, share=0.1),
    "objects": Tolerance(more=5, share=0.05),
}
"""Calls come and go, so that a median moves by a call's sockets and tasks; a leak of one per call would be hundreds."""


class Flat(msgspec.Struct, frozen=True):
    """A figure in the second and in the last quarter, medians; the first quarter is for growing warm."""

    process: str
    figure: str
    before: float
    after: float
    flat: bool


def look(pid: int, inside: Path | None = None) -> Vitals:
    """Look at a process; `inside` is where it writes what only it can count."""
    process = psutil.Process(pid)
    with process.oneshot():
        memory = process.memory_full_info()
        counted: dict[str, int] = {}
        if inside is not None and inside.exists():
            counted = msgspec.json.decode(inside.read_bytes())
        return Vitals(
            rss_mib=memory.rss / MIB,
            uss_mib=memory.uss / MIB,
            threads=process.num_threads(),
            descriptors=process.num_fds(),
            **counted,
        )


def judge(process: str, looks: Sequence[Vitals]) -> list[Flat]:
    """Compare the second quarter with the last."""
    return [
        compare(process, figure, values, tolerance)
        for figure, tolerance in TOLERANCES.items()
        if len(values := [value for each in looks if (value := getattr(each, figure)) is not None]) == len(looks)
    ]


def compare(process: str, figure: str, values: Sequence[float], tolerance: Tolerance) -> Flat:
    """Compare the second quarter of one figure with the last."""
    quarter = max(1, len(values) // 4)
    before = statistics.median(values[quarter : 2 * quarter] or values)
    after = statistics.median(values[-quarter:])
    allowed = max(tolerance.more, before * tolerance.share)
    return Flat(process, figure, round(before, 1), round(after, 1), after - before <= allowed)


def as_table(flats: Sequence[Flat]) -> list[dict[str, Any]]:
    """Return the comparisons as JSON takes them."""
    return [msgspec.structs.asdict(flat) for flat in flats]
