"""Signed webhooks per CPU-second: our ingress, which keeps them in Redis, beside two handlers that keep nothing."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from pageline.bench import events, stacks
from pageline.bench.figures import Webhooks
from pageline.bench.load import Burst
from pageline.bench.processes import BenchFailed, lines_of
from pageline.bench.show import Show

ROUNDS: Final = 5
WEBHOOKS: Final = 12_000
WARM_UP_WEBHOOKS: Final = 1_600
CONNECTIONS: Final = 32
AIM_TIMES: Final = 3.0

OURS, BARE, FASTAPI = "pageline", "starlette", "fastapi"


def measure(home: Path, show: Show) -> dict[str, Any]:
    """Load the three stacks in turn, round by round, and return what each made of a CPU-second."""
    with ExitStack() as stack:
        contenders = [
            stack.enter_context(stacks.ours("ingress", home)),
            stack.enter_context(stacks.baseline("bare_starlette", home)),
            stack.enter_context(stacks.baseline("fastapi_pydantic", home)),
        ]
        figures = [
            Webhooks(stack=name, keeps=keeps, per_cpu_s=[], per_s=[], redis_per_cpu_s=[])
            for name, keeps in ((OURS, "all"), (BARE, "nothing"), (FASTAPI, "nothing"))
        ]
        with show.progress("webhooks", len(contenders) * ROUNDS) as advance:
            for contender in contenders:
                _burst(contender, WARM_UP_WEBHOOKS, "warm")
            for round_number in range(ROUNDS):
                for contender, figure in zip(contenders, figures, strict=True):
                    _note(figure, _burst(contender, WEBHOOKS, f"r{round_number}"))
                    advance(1)
    summaries = [figure.summary(against=figures[-1]) for figure in figures]
    times = summaries[0][f"times_{FASTAPI}"]
    return {
        "webhooks_per_round": WEBHOOKS,
        "rounds": ROUNDS,
        "connections": CONNECTIONS,
        "body_bytes": events.BODY_BYTES,
        "mix": "Of 9 events 3 are connect, 2 call_status, 4 terminate; every one is distinct.",
        "stacks": summaries,
        "aim": {f"times_{FASTAPI}": AIM_TIMES, "met": times >= AIM_TIMES},
    }


def _burst(contender: stacks.Stack, webhooks: int, tag: str) -> Burst:
    pids = [str(pid) for pid in (contender.web.pid, contender.valkey_pid) if pid]
    arguments = (contender.url, str(webhooks), str(CONNECTIONS), tag, *pids)
    burst = msgspec.json.decode(b"".join(lines_of("pageline.bench.load", *arguments)), type=Burst)
    if burst.refused:
        raise BenchFailed(f"{contender.name} refused {burst.refused} webhooks. It said:\n{contender.web.said()}")
    return burst


def _note(figure: Webhooks, burst: Burst) -> None:
    figure.per_s.append(burst.confirmed / burst.took_s)
    figure.per_cpu_s.append(burst.confirmed / burst.cpu_s[0])
    figure.redis_per_cpu_s.extend(burst.confirmed / cpu_s for cpu_s in burst.cpu_s[1:])
