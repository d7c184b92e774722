"""From the webhook to our `accept` at Graph: the whole pipeline beside one process that does it inline."""

import asyncio
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from pageline.bench import stacks
from pageline.bench.caller import Rung
from pageline.bench.figures import Delays
from pageline.bench.processes import BenchFailed, lines_of
from pageline.bench.show import Show
from shared.bus import Bus
from shared.calls import facts
from shared.embedded import free_port
from shared.entries import LogEntry
from shared.wire import Wire

ROUNDS: Final = 4
CALLS: Final = 50
WARM_UP_CALLS: Final = 10
CALLS_PER_S: Final = 10
AIM_P50_MS: Final = 8.0
AIM_P99_MS: Final = 15.0

OURS, INLINE = "pageline", "inline"

STAGES: Final[dict[str, type[facts.Fact]]] = {
    "the webhook is in the call's log": facts.Arrived,
    "its worker has started the handler": facts.HandlerStarted,
    "the offer is in the log": facts.OfferMade,
    "the action worker may send it": facts.ActionGranted,
}
ACCEPTED: Final = "the accept is at Graph"


def measure(home: Path, show: Show) -> dict[str, Any]:
    """Ring at both stacks in turn, round by round, and return how soon each accepted."""
    with ExitStack() as stack:
        graph_ports = (free_port(), free_port())
        contenders = [
            stack.enter_context(stacks.ours("answer", home, graph_port=graph_ports[0])),
            stack.enter_context(stacks.baseline("inline_answerer", home, graph_port=graph_ports[1])),
        ]
        delays = [Delays(OURS, []), Delays(INLINE, [])]
        ours: list[Rung] = []
        with show.progress("calls", len(contenders) * ROUNDS * CALLS) as advance:
            for contender, port in zip(contenders, graph_ports, strict=True):
                for _ in _ring(contender, port, WARM_UP_CALLS, "warm"):
                    pass
            for round_number in range(ROUNDS):
                for number, (contender, port) in enumerate(zip(contenders, graph_ports, strict=True)):
                    rung = []
                    for each in _ring(contender, port, CALLS, f"r{round_number}"):
                        rung.append(each)
                        advance(1)
                    delays[number] = _with_round(delays[number], contender, rung)
                    ours += rung if number == 0 else []
        stages = asyncio.run(_stages(contenders[0].redis_url, ours))
    summaries = [each.summary() for each in delays]
    met = summaries[0]["p50_ms"] <= AIM_P50_MS and summaries[0]["p99_ms"] <= AIM_P99_MS
    return {
        "calls_per_s": CALLS_PER_S,
        "rounds": ROUNDS,
        "stacks": summaries,
        "stages_ms": stages,
        "aim": {"p50_ms": AIM_P50_MS, "p99_ms": AIM_P99_MS, "met": met},
    }


def _ring(contender: stacks.Stack, graph_port: int, calls: int, tag: str) -> Any:
    arguments = (contender.url, str(graph_port), str(calls), str(CALLS_PER_S), tag)
    for line in lines_of("pageline.bench.caller", *arguments):
        yield msgspec.json.decode(line, type=Rung)


def _with_round(delays: Delays, contender: stacks.Stack, rung: list[Rung]) -> Delays:
    accepted_ms = [_delay_ms(each) for each in rung if each.accepted_at_s is not None]
    if not accepted_ms:
        raise BenchFailed(f"{contender.name} accepted no call at all. Its web process said:\n{contender.web.said()}")
    unanswered = delays.unanswered + len(rung) - len(accepted_ms)
    return Delays(delays.stack, [*delays.rounds, accepted_ms], unanswered)


def _delay_ms(rung: Rung) -> float:
    return ((rung.accepted_at_s or 0) - rung.sent_at_s) * 1000


async def _stages(redis_url: str, rung: list[Rung]) -> dict[str, float]:
    """Return when each stage was reached, by the logs of our calls: medians, milliseconds after the webhook left.

    The server notes whole milliseconds, rounded down; half a millisecond is added for that.
    """
    reached_ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
    async with Wire.from_url(redis_url, name="pageline-bench") as wire:
        bus = Bus(wire)
        for call in rung:
            entries = await bus.read_log(call.call_id)
            for stage, kind in STAGES.items():
                at_ms = _first_ms(entries, kind)
                if at_ms is not None:
                    reached_ms[stage].append(at_ms + 0.5 - call.sent_at_s * 1000)
    reached_ms[ACCEPTED] = [_delay_ms(call) for call in rung if call.accepted_at_s is not None]
    return {stage: round(statistics.median(delays_ms), 2) for stage, delays_ms in reached_ms.items() if delays_ms}


def _first_ms(entries: list[LogEntry], kind: type[facts.Fact]) -> int | None:
    return next((entry.fact.at_ms for entry in entries if isinstance(entry.fact, kind)), None)
