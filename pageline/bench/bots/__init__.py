"""Voice bots at the end of calls: how soon they are silent when they are told to be, and how many one core holds."""

from pathlib import Path
from typing import Any, Final

import msgspec

from pageline.bench import stacks
from pageline.bench.figures import percentile, spread
from pageline.bench.media import cores, probe
from pageline.bench.media.contenders import OURS
from pageline.bench.media.most import bring_to, most
from pageline.bench.processes import lines_of
from pageline.bench.show import Show
from shared.embedded import free_port

CALLS: Final = 12
PROTOCOLS: Final = ("twilio", "openai")
AIM_P95_MS: Final = 100.0
FIRST: Final = 24
LOOKS: Final = 8
AIM_HELD: Final = 25
DELAY_CALLS: Final = 5
LISTENED_TO: Final = 3
AIM_PCM_P95_MS: Final = 60.0


def measure(home: Path, show: Show, seconds: float) -> dict[str, Any]:
    """Interrupt bots, look how late their echoes are, and let more and more calls talk with one."""
    separate = cores.separate()
    silences = [_interrupted(home, show, protocol, seconds) for protocol in PROTOCOLS]
    with show.busy("how late the echo of a bot is"):
        delays = [_delayed(home, mode, seconds) for mode in ("bot", "pcm_bot")]
    with (
        show.progress("looks at calls with a bot, at most", LOOKS) as advance,
        probe.of(OURS, "bot", home) as ready,
    ):
        held = most(ready, FIRST, seconds=seconds, looks=LOOKS, looked=lambda: advance(1))
    return {
        "own_core": separate,
        "seconds": seconds,
        "silences": silences,
        "echo_delay": delays,
        "held": held,
        "aim": {
            "p95_ms": AIM_P95_MS,
            "pcm_p95_ms": AIM_PCM_P95_MS,
            "held": AIM_HELD,
            "met": all(each["p95_ms"] <= AIM_P95_MS for each in silences)
            and delays[-1]["echo_delay_p95_ms"] <= AIM_PCM_P95_MS
            and held["held"] >= AIM_HELD,
        },
    }


def _interrupted(home: Path, show: Show, protocol: str, seconds: float) -> dict[str, Any]:
    graph_port, bot_port = free_port(), free_port()
    settings = {
        "CALL_HANDLER": "workers.handlers.voice_ai:answer",
        "VOICE_AI_URL": f"ws://127.0.0.1:{bot_port}/",
        "VOICE_AI_PROTOCOL": protocol,
    }
    with (
        show.busy(f"bots are interrupted, {protocol}"),
        stacks.ours(f"bots-{protocol}", home, graph_port=graph_port, settings=settings) as stack,
    ):
        asked = (protocol, stack.url, str(graph_port), str(bot_port), str(CALLS), str(seconds))
        (line,) = lines_of("pageline.bench.bots.interruptions", *asked)
    silent_ms: list[float] = msgspec.json.decode(line)
    shares = {f"p{share}_ms": round(percentile(silent_ms, share), 1) for share in (50, 95)}
    told = {"protocol": protocol, "interruptions": len(silent_ms), **shares, "max_ms": round(max(silent_ms), 1)}
    return {**told, "spread_ms": spread(silent_ms)}


def _delayed(home: Path, mode: str, seconds: float) -> dict[str, Any]:
    with probe.of(OURS, mode, home) as ready:
        bring_to(ready, DELAY_CALLS, fresh=True)
        return {"mode": mode, **ready.look(DELAY_CALLS, seconds, listen_to=LISTENED_TO)}
