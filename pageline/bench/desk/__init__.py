"""What the desk adds to the way from a consumer's mouth to an agent's ear, and back."""

from pathlib import Path
from typing import Any, Final

import msgspec

from pageline.bench import stacks
from pageline.bench.figures import percentile, spread
from pageline.bench.processes import lines_of
from pageline.bench.show import Show
from shared.embedded import free_port

CALLS: Final = 5
AIM_P95_MS: Final = 40.0


def measure(home: Path, show: Show, seconds: float) -> dict[str, Any]:
    """Let agents talk to consumers, then with a supervisor who listens in, and return how late each hears the other."""
    graph_port = free_port()
    settings = {"CALL_HANDLER": "workers.handlers.desk:answer", "DESK_ANNOUNCE_SECONDS": "3600"}
    with (
        show.busy("agents and consumers talk"),
        stacks.ours("desk", home, graph_port=graph_port, settings=settings) as stack,
    ):
        asked = (stack.url, str(graph_port), stack.redis_url, str(CALLS), str(seconds))
        (line,) = lines_of("pageline.bench.desk.talks", *asked)
    delays_ms: dict[str, list[float]] = msgspec.json.decode(line)
    rows: list[dict[str, Any]] = [
        {
            "way": way,
            "heard": len(heard_ms),
            **{f"p{p}_ms": round(percentile(heard_ms, p), 1) for p in (50, 95)},
            "spread_ms": spread(heard_ms),
        }
        for way, heard_ms in delays_ms.items()
    ]
    met = all(row["p95_ms"] <= AIM_P95_MS for row in rows)
    return {"talks": CALLS, "seconds": seconds, "rows": rows, "aim": {"p95_ms": AIM_P95_MS, "met": met}}
