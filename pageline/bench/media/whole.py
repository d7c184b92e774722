"""The whole table: everything that the docs name, each beside what one would use instead."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from pageline.bench.figures import percentile
from pageline.bench.media import losses, pion, probe
from pageline.bench.media.contenders import OURS, PION, STOCK
from pageline.bench.media.most import SEARCHES, most

ROUNDS: Final = 2
COST_SECONDS: Final = 10.0
COSTS: Final = {"forward": (100, (OURS, STOCK, PION)), "answer": (8, (OURS, STOCK))}
"""With how many calls, and for whom, a packet's cost is measured."""
HELD: Final = (
    (STOCK, "answer", 8, 4),
    (STOCK, "forward", 100, 4),
    *((OURS, mode, *search) for mode, search in SEARCHES.items()),
)
"""Of whom the number held is sought, in which mode, from where, with how many looks at most."""
FEW_CALLS: Final = 5
LISTENED_TO: Final = 3
GREETED: Final = 60
GREETED_PER_S: Final = 10.0
GREETINGS: Final = ((OURS, "answer"), (STOCK, "answer"), (OURS, "forward"), (STOCK, "forward"), (PION, "forward"))


def measure(home: Path, seconds: float, busy: Callable[[str], AbstractContextManager[None]]) -> dict[str, Any]:
    """Return all figures; `busy` is told what is being done, and when that is over."""
    there = {OURS, STOCK, *([PION] if pion.installed() else ())}
    report: dict[str, Any] = {"pion": "installed" if PION in there else "not installed", "held": []}
    with busy("what a packet costs"):
        report["cost"] = cost(home, there)
    for stack, mode, first, looks in HELD:
        with busy(f"how many calls {stack} holds, {mode}"), probe.of(stack, mode, home) as ready:
            found = most(ready, first, seconds=seconds, looks=looks)
        report["held"].append({"stack": stack, "mode": mode, **found})
    with busy("echo delay"):
        report["echo_delay"] = [_delay(home, stack, FEW_CALLS) for stack in (OURS, STOCK)]
        held = {each["stack"]: each["held"] for each in report["held"] if each["mode"] == "answer"}
        report["echo_delay_under_load"] = [_delay(home, stack, calls) for stack, calls in held.items() if calls]
    with busy("speech that is missing when packets are lost"):
        report["missing_speech"] = losses.table(home)
    with busy("from the webhook to the first sound back"):
        report["greetings"] = [_greeting(home, stack, mode) for stack, mode in GREETINGS if stack in there]
    return report


def cost(home: Path, there: set[str]) -> list[dict[str, Any]]:
    """Return CPU per packet slot and memory per call of each, round by round in turn."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for _ in range(ROUNDS):
        for mode, (calls, stacks) in COSTS.items():
            for stack in stacks:
                if stack in there:
                    with probe.of(stack, mode, home) as ready:
                        ready.ring(calls)
                        look = ready.look(calls, COST_SECONDS)
                    row = rows.setdefault((stack, mode), {"stack": stack, "mode": mode, "calls": calls, "looks": []})
                    row["looks"].append(look)
    for row in rows.values():
        for figure in ("cpu_us_per_packet_slot", "rss_per_call_bytes"):
            row[figure] = [round(look[figure]) for look in row["looks"]]
    return list(rows.values())


def _delay(home: Path, stack: str, calls: int) -> dict[str, Any]:
    with probe.of(stack, "answer", home) as ready:
        ready.ring(calls)
        look = ready.look(calls, COST_SECONDS, listen_to=LISTENED_TO)
    return {"stack": stack, **look}


def _greeting(home: Path, stack: str, mode: str) -> dict[str, Any]:
    with probe.of(stack, mode, home) as ready:
        greeted = ready.load.greet(GREETED, GREETED_PER_S)
    found: dict[str, Any] = {"stack": stack, "mode": mode, "calls": greeted.asked, "heard": len(greeted.first_sound_ms)}
    if greeted.first_sound_ms:
        found |= {f"p{share}_ms": round(percentile(greeted.first_sound_ms, share), 1) for share in (50, 90, 99)}
        found["first_packet_p50_ms"] = round(percentile(greeted.first_packet_ms, 50), 1)
    return found
