"""`pageline bench`: what the pipeline costs and how fast it is, with what one would write instead beside it.

Everything is a real process on this machine: ours as the Procfile starts them, over an embedded Valkey that writes an
append-only file; the baselines on the same server (uvicorn, uvloop, httptools); the load in a process of its own.
Method and reading: docs/performance.md.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any, Final

from shared.errors import BadSetting, PagelineError

INGRESS: Final = "ingress"
ANSWER: Final = "answer"
MEDIA: Final = "media"
DESK: Final = "desk"
BOTS: Final = "bots"
_ALL: Final = (INGRESS, ANSWER, MEDIA, DESK, BOTS)


def run(only: str = "", **media_order: Any) -> dict[str, Any]:
    """Measure one, or all without `only`; print tables on stderr and return the figures.

    What else is given is the `Order` of the media bench.

    Raises:
        BadSetting: `only` names neither.
        PagelineError: a package of the bench is missing, or a stack did not start.
    """
    if only not in ("", *_ALL):
        raise BadSetting(f"--only {only} names no bench. Write one of {', '.join(_ALL)}, or nothing for all.")
    require("psutil", *(("fastapi", "pydantic") if only in ("", INGRESS) else ()))
    from pageline.bench import answer_bench, bots, desk, figures, ingress_bench
    from pageline.bench.media import run as media_bench
    from pageline.bench.show import Show

    show = Show()
    report: dict[str, Any] = {"machine": figures.machine()}
    show.machine(report["machine"])
    with tempfile.TemporaryDirectory(prefix="pageline-bench-") as folder:
        home = Path(folder)
        if only in ("", INGRESS):
            report[INGRESS] = ingress_bench.measure(home, show)
            show.ingress(report[INGRESS])
        if only in ("", ANSWER):
            report[ANSWER] = answer_bench.measure(home, show)
            show.answer(report[ANSWER])
        if only in ("", MEDIA):
            report[MEDIA] = media_bench.measure(home, show, media_bench.Order(**media_order))
            show.media(report[MEDIA])
        if only in ("", DESK):
            report[DESK] = desk.measure(home, show, media_order.get("seconds", 20.0))
            show.desk(report[DESK])
        if only in ("", BOTS):
            report[BOTS] = bots.measure(home, show, media_order.get("seconds", 20.0))
            show.bots(report[BOTS])
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
