"""`pageline bench media`: everything, or one look at one mode."""

import os
from pathlib import Path
from typing import Any

import msgspec

from pageline.bench.media import cores, most, probe, whole
from pageline.bench.media.contenders import MODES, OURS, STACKS
from pageline.bench.show import Show
from shared.errors import BadSetting


class Order(msgspec.Struct, frozen=True):
    """What is to be measured: everything, or with a mode that one with so many calls."""

    mode: str = ""
    stack: str = OURS
    calls: int = 0
    seconds: float = 20.0


def measure(home: Path, show: Show, order: Order) -> dict[str, Any]:
    """Measure, and return the figures.

    Raises:
        BadSetting: there is no such mode or stack.
    """
    if order.mode and order.mode not in MODES:
        raise BadSetting(f"--mode {order.mode} is unknown. Write one of: {', '.join(MODES)}.")
    if order.stack not in STACKS:
        raise BadSetting(f"--stack {order.stack} is unknown. Write one of: {', '.join(STACKS)}.")
    separate = cores.separate()
    if not order.mode:
        report = whole.measure(home, order.seconds, show.busy)
        return {"own_core": separate, **report, "load_1min_after": round(os.getloadavg()[0], 2)}
    with probe.of(order.stack, order.mode, home) as ready:
        most.bring_to(ready, order.calls, fresh=True)
        held = ready.look(order.calls, order.seconds, listen_to=3 if order.mode in ("answer", "bot", "pcm_bot") else 0)
    after = {"load_1min_after": round(os.getloadavg()[0], 2)}
    return {"stack": order.stack, "mode": order.mode, "own_core": separate, **held, **after}
