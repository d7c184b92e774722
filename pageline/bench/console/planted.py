"""Calls as they lie in the log after a busy day: written there at once, with the times they would have had."""

import random
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from shared import quality
from shared.bus import PREFIX
from shared.calls import facts
from shared.clock import unix_ms
from shared.entries import bare
from shared.index import HOUR_MS, INDEX
from shared.log import pseudonym
from shared.wire import Argument, Wire

PAGE: Final = "106378625516323"
SDP: Final = "v=0\r\n" + "a=candidate:1 1 UDP 2130706431 192.0.2.1 40000 typ host\r\n" * 60
"""As long as those of real calls."""
DAY_MS: Final = 86_400_000
AT_ONCE: Final = 100
ENDS: Final = {"completed": 78, "missed": 6, "cancelled": 8, "declined": 3, "expired": 2, "failed": 2, "lost": 1}

Command = tuple[Argument, ...]


async def plant(
    wire: Wire,
    calls: int,
    *,
    seed: int = 1,
    over_ms: int = DAY_MS,
    advance: Callable[[int], None] = lambda _written: None,
) -> list[str]:
    """Write so many ended calls of the last `over_ms`, and return their ids, the oldest first."""
    chance = random.Random(seed)
    now_ms = unix_ms()
    began = sorted(now_ms - 600_000 - int(over_ms * chance.random() ** 1.3) for _ in range(calls))
    ids = []
    for first in range(0, calls, AT_ONCE):
        commands: list[Command] = []
        for began_ms in began[first : first + AT_ONCE]:
            call_id = f"c_{chance.getrandbits(96):024x}"
            ids.append(call_id)
            commands += _commands(chance, call_id, began_ms)
        await wire.transaction(commands)
        advance(min(AT_ONCE, calls - first))
    return ids


def _commands(chance: random.Random, call_id: str, began_ms: int) -> Iterator[Command]:
    consumer = f"52{chance.randrange(10**14):014d}"
    (outcome,) = chance.choices([*ENDS], weights=[*ENDS.values()])
    seconds = min(1_800.0, chance.lognormvariate(4.4, 0.9))
    told = [*_life(chance, outcome, consumer, began_ms, seconds)]
    times = [began_ms + after for after in accumulate(after for _, after in told)]
    for seq, ((fact, _), at_ms) in enumerate(zip(told, times, strict=True), 1):
        epoch = 0 if isinstance(fact, facts.Arrived | facts.Terminated) else 1
        log = f"{PREFIX}log:{call_id}"
        yield ("XADD", log, f"{seq}-0", "f", bare(fact), "t", at_ms, "e", epoch)
    yield ("ZADD", INDEX, began_ms, call_id)
    yield ("ZADD", f"{PREFIX}consumer:{pseudonym(consumer)}", began_ms, call_id)
    hour = f"{PREFIX}hour:{times[-1] // HOUR_MS}"
    yield ("HINCRBY", hour, f"outcome {outcome}", 1)
    if outcome == "completed":
        yield ("HINCRBY", hour, f"answer {int(float(f'{times[6] - began_ms:.2g}'))}", 1)
        yield from _samples(chance, call_id, times[6], seconds)


def _life(
    chance: random.Random, outcome: str, consumer: str, began_ms: int, seconds: float
) -> Iterator[tuple[facts.Fact, int]]:
    """Yield what happened, and how long after what was before, ms."""
    arrived = facts.Arrived(
        page=PAGE,
        consumer=consumer,
        direction="user_initiated",
        sent_at_ms=began_ms - chance.randrange(40, 400),
        answer_by_ms=began_ms + 55_000,
    )
    yield arrived, 0
    if outcome == "expired":
        yield facts.DeadlinePassed(deadline_ms=began_ms + 55_000), 55_000
    yield facts.Claimed(worker=f"media-{chance.choice('ab')}-1"), chance.randrange(1, 5)
    if outcome != "expired":
        yield facts.HandlerStarted(handler="workers.handlers.ivr:answer"), 2
        yield facts.OfferMade(sdp=SDP), chance.randrange(5, 60)
    if outcome == "completed":
        yield from _conversation(chance, seconds)
    elif outcome == "failed":
        yield facts.ActionFailed(action="accept", cause="graph", message="Invalid parameter", code=100), 300
    elif outcome == "declined":
        yield facts.RejectAsked(reason="closed"), 100
        yield facts.HandlerEnded(how="returned"), 5
        yield facts.ActionSettled(action="reject", graph_ms=140), 160
    else:
        yield facts.Terminated(status="failed"), chance.randrange(2_000, 30_000)
        yield facts.HandlerEnded(how="cancelled"), 4
    yield facts.Closed(outcome=outcome), 5


def _conversation(chance: random.Random, seconds: float) -> Iterator[tuple[facts.Fact, int]]:
    graph_ms = int(chance.lognormvariate(5.6, 0.35))
    setup_ms = chance.randrange(60, 240)
    packets = int(seconds * 50)
    lost = int(packets * max(0.0, chance.gauss(0.004, 0.012)))
    yield facts.ActionGranted(action="accept"), 6
    yield facts.AnswerReceived(sdp=SDP, renegotiation=SDP, graph_ms=graph_ms), graph_ms
    yield facts.LegConnected(setup_ms=setup_ms), setup_ms
    yield facts.RecordingStarted(path="recordings/none.opus"), 3
    yield facts.HangUpAsked(by="handler"), int(seconds * 1000)
    yield facts.HandlerEnded(how="returned"), 4
    closed = facts.LegClosed(
        packets_received=packets,
        packets_lost=lost,
        packets_sent=packets,
        jitter_ms=chance.uniform(1, 9),
        round_trip_ms=chance.uniform(18, 120),
        jitter_buffer_ms=chance.uniform(40, 80),
        concealed_ms=lost * 20.0,
        played_ms=seconds * 1000,
        first_packet_ms=chance.uniform(15, 180),
        peer_reports=int(seconds / 5),
        peer_lost=lost // 2,
        peer_lost_of=packets,
        mos_estimate=max(2.0, 4.36 - 40 * lost / max(1, packets)),
    )
    yield closed, 20
    yield facts.ActionSettled(action="terminate", graph_ms=130), 140
    yield facts.Terminated(status="completed", duration_s=int(seconds)), 250


def _samples(chance: random.Random, call_id: str, live_ms: int, seconds: float) -> Iterator[Command]:
    for number in range(1, min(12, int(seconds / quality.SAMPLE_EVERY_S))):
        lost = max(0.0, chance.gauss(0, 3))
        told = {"packets_received": 250.0, "packets_sent": 250, "packets_lost": round(lost), "round_trip_ms": 60}
        told["mos_estimate"] = round(4.3 - lost / 9, 2)
        at_ms = live_ms + int(number * quality.SAMPLE_EVERY_S * 1000)
        pairs = (part for pair in told.items() for part in pair)
        yield ("XADD", quality.PREFIX + call_id, f"{at_ms}-0", *pairs)
