"""How many calls one media worker on a core of its own holds, by what is done with their sound."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pageline.bench.media import cores, probe
from pageline.bench.media.contenders import OURS
from pageline.bench.media.most import SEARCHES, most
from pageline.bench.media.table import AIMED_AT, NAMES
from pageline.bench.show import Show
from shared.errors import BadSetting


def measure(home: Path, show: Show, seconds: float, modes: Sequence[str] = ()) -> dict[str, Any]:
    """Let more and more calls come until one of them would notice, in these modes or in all.

    Raises:
        BadSetting: there is no such mode.
    """
    if unknown := set(modes) - SEARCHES.keys():
        raise BadSetting(f"--mode {', '.join(sorted(unknown))} is unknown. Write one of: {', '.join(SEARCHES)}.")
    wanted = list(modes) or list(SEARCHES)
    separate, rows = cores.separate(), []
    with show.progress("looks, at most", sum(SEARCHES[mode].looks for mode in wanted)) as advance:
        for mode in wanted:
            search = SEARCHES[mode]
            with probe.of(OURS, mode, home) as ready:
                found = most(ready, search.first, seconds=seconds, looks=search.looks, looked=lambda: advance(1))
            advance(max(0, search.looks - len(found["looks"])))
            rows.append({"mode": mode, "what": NAMES[mode], "aim": AIMED_AT[mode], **found})
    met = all(row["held"] >= row["aim"] for row in rows)
    return {"own_core": separate, "seconds": seconds, "rows": rows, "aim": {"met": met}}
