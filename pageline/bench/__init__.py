"""`pageline bench`: what the pipeline costs and how fast it is, with what one would write instead beside it.

Everything is a real process on this machine: ours as the Procfile starts them, over an embedded Valkey that writes an
append-only file; the baselines on the same server (uvicorn, uvloop, httptools); the load in a process of its own.
Method and reading: docs/performance.md.
"""

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from shared.errors import PagelineError

FAMILY: Final = ("ingress", "pickup", "hold", "desk", "bots")
"""What `pageline bench` measures, one after the other."""


def run(members: Sequence[str] = FAMILY, *, seconds: float = 15.0, modes: Sequence[str] = ()) -> dict[str, Any]:
    """Measure these members of the family, print tables on stderr, and return the figures of each by its name.

    `seconds` is how long one look takes where calls are looked at; `modes` are those of `hold`, by default all.

    Raises:
        PagelineError: a package of the bench is missing, or a stack did not start.
    """
    require("psutil", *(("fastapi", "pydantic") if "ingress" in members else ()))
    from pageline.bench import bots, desk, figures, hold, ingress, pickup
    from pageline.bench.show import Show

    show = Show()
    measures = {
        "ingress": lambda home: ingress.measure(home, show),
        "pickup": lambda home: pickup.measure(home, show),
        "hold": lambda home: hold.measure(home, show, seconds, modes),
        "desk": lambda home: desk.measure(home, show, seconds),
        "bots": lambda home: bots.measure(home, show, seconds),
    }
    shows = {"ingress": show.ingress, "pickup": show.pickup, "hold": show.hold, "desk": show.desk, "bots": show.bots}
    report: dict[str, Any] = {"machine": figures.machine()}
    show.machine(report["machine"])
    with tempfile.TemporaryDirectory(prefix="pageline-bench-") as folder:
        for member in members:
            report[member] = measures[member](Path(folder))
            shows[member](report[member])
    return report


def look_at_media(mode: str, stack: str, calls: int, seconds: float) -> dict[str, Any]:
    """Measure the whole media path, or with a mode look at it once; print and return the figures.

    Raises:
        BadSetting: there is no such mode or stack.
    """
    require("psutil")
    from pageline.bench import figures
    from pageline.bench.media import run as media
    from pageline.bench.show import Show

    show = Show()
    report: dict[str, Any] = {"machine": figures.machine()}
    show.machine(report["machine"])
    with tempfile.TemporaryDirectory(prefix="pageline-bench-") as folder:
        report["media"] = media.measure(Path(folder), show, media.Order(mode, stack, calls, seconds))
    show.media(report["media"])
    return report


def require(*packages: str) -> None:
    """Refuse to begin without packages that the pipeline itself does not need.

    Raises:
        PagelineError: some are missing; the message says how to get them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise PagelineError(
            f"The bench needs {' and '.join(missing)}, which the pipeline itself does not. Run `make bench`, or "
            "install them with `.venv/bin/python -m pip install --group dev --group bench`."
        )
