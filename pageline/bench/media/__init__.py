"""`pageline bench --only media`: how many calls one core holds, what a packet costs, and what becomes of the sound."""

from pathlib import Path
from typing import Any

import msgspec

from pageline.bench.media import cores, probe
from pageline.bench.show import Show
from shared.errors import BadSetting


class Order(msgspec.Struct, frozen=True):
    """What is to be measured: everything, or with a mode that one with so many calls."""

    mode: str = ""
    calls: int = 0
    seconds: float = 20.0


def measure(home: Path, show: Show, order: Order) -> dict[str, Any]:
    """Measure, and return the figures.

    Raises:
        BadSetting: there is no such mode.
    """
    if order.mode and order.mode not in probe.MODES:
        raise BadSetting(f"--mode {order.mode} is unknown. Write one of: {', '.join(probe.MODES)}.")
    separate = cores.separate()
    chosen = probe.MODES[order.mode]
    with probe.ours(order.mode, home) as ready:
        held = ready.hold(order.calls, order.seconds, speak=chosen.speak)
    return {"mode": order.mode, "own_core": separate, **held}
