"""One call's webhooks in any order and any number of times, through the decoder into a real Valkey.

What is in the log afterwards depends on what was said only, and the call ends once, as one of the sayings allows.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.bus import Bus, Routed
from shared.calls import facts, orders
from shared.calls.machine import transition
from shared.calls.state import Call, Phase
from shared.meta import webhook
from shared.wire import Wire

PAGE: Final = "106378625516323"
CALL: Final = "c_1"
OWNER: Final = "one"
DAY_S: Final = 86_400

WEBHOOKS: Final = Path(__file__).parents[1] / "fixtures" / "webhooks"


def sample(name: str, **changes: Any) -> dict[str, Any]:
    body = json.loads((WEBHOOKS / f"messenger-{name}.json").read_text())
    return {**body["entry"][0]["calls"][0], "id": CALL, **changes}


def media_update(version: int, sdp: str = "") -> dict[str, Any]:
    session = {"version": version, "sdp_renegotiation": {"sdp_type": "offer", "sdp": f"v=0 {version}{sdp}"}}
    return {"id": CALL, "event": "media_update", "timestamp": 1671644835, "session": session}


CONNECT: Final = sample("connect-user-initiated")
COMPLETED: Final = sample("terminate-completed")
FAILED: Final = sample("terminate-failed")
SAID: Final = (
    *(CONNECT, COMPLETED, FAILED, media_update(1), media_update(2), media_update(3), media_update(3, " other")),
    *(sample("call-status-ringing"), {"id": CALL, "event": "hold", "by": "consumer"}),
)
Saying = tuple[int, bool]
"""Which of `SAID`, and whether it was sent a day ago rather than now."""


def body_of(element: dict[str, Any], *, sent_s: int) -> bytes:
    entry = {"id": PAGE, "time": sent_s, "calls": [{**element, "timestamp": sent_s}]}
    return json.dumps({"object": "page", "entry": [entry]}).encode()


class Line:
    """Ingress and the owner of the call as the bus sees them; the owner does at once what the machine orders."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.call = Call()
        self.seq = 0
        self.ordered: list[orders.Order] = []

    async def hear(self, body: bytes, now_ms: int) -> list[Routed]:
        received = webhook.read(body, now_ms=now_ms, answer_window_ms=55_000)
        assert received.unreadable == []
        return [await self._bus.route(event.call_id, event.fact, identity=event.identity) for event in received.events]

    async def work(self) -> None:
        """Fold what is new, until nothing is."""
        while news := [entry for entry in await self._bus.read_log(CALL) if entry.seq > self.seq]:
            for entry in news:
                self.seq = entry.seq
                self.call, todo = transition(self.call, entry.fact)
                for order in todo if self.call.epoch else ():  # until it is claimed, it is folded in silence
                    self.ordered.append(order)
                    await self._perform(order)

    async def _perform(self, order: orders.Order) -> None:
        epoch = self.call.epoch
        match order:
            case orders.StopHandler():
                await self._bus.route(CALL, facts.HandlerEnded(how="cancelled", epoch=epoch))
            case orders.PostAction(action=action):
                await self._bus.route(
                    CALL, facts.ActionSettled(action=action, epoch=epoch), identity=f"{action}:{epoch}"
                )
            case orders.CloseCall(outcome=outcome):
                await self._bus.done(CALL, OWNER, epoch, outcome)

    async def heard_facts(self) -> list[facts.Fact]:
        """Return what Meta said of the call, as the log has it."""
        kinds = (facts.Arrived, facts.StatusChanged, facts.MediaChanged, facts.Terminated, facts.Unrecognized)
        log = [entry.fact for entry in await self._bus.read_log(CALL)]
        return [replace(fact, at_ms=0) for fact in log if isinstance(fact, kinds)]


async def live(redis_url: str, said: Sequence[Saying], *, promptly: bool) -> None:
    """Let a call hear all this; the owner works after each saying, or after all of them."""
    async with Wire.from_url(redis_url) as wire:
        await wire.call("FLUSHALL")
        bus = Bus(wire)
        line = Line(bus)
        now_ms = await bus.beat(OWNER, lease_ms=600_000, capacity=5, join=True)
        expected: dict[str, facts.Fact] = {}
        for which, long_ago in said:
            body = body_of(SAID[which], sent_s=now_ms // 1000 - (DAY_S if long_ago else 0))
            (event,) = webhook.read(body, now_ms=now_ms, answer_window_ms=55_000).events
            (routed,) = await line.hear(body, now_ms)
            assert (routed is Routed.DUPLICATE) is (event.identity in expected)
            expected.setdefault(event.identity, event.fact)
            if promptly:
                await line.work()
        await line.work()

        assert await line.heard_facts() == list(expected.values()), "each saying is one fact, whatever came twice"
        log = [entry.fact for entry in await bus.read_log(CALL)]
        closed = [fact.outcome for fact in log if isinstance(fact, facts.Closed)]
        ends = [fact for fact in expected.values() if isinstance(fact, facts.Terminated)]
        arrived = [fact for fact in expected.values() if isinstance(fact, facts.Arrived)]
        if ends or (arrived and arrived[0].answer_by_ms < now_ms):
            assert line.call.phase is Phase.ENDED
            assert len(closed) == 1
            assert closed[0] in {"failed" if end.status == "failed" else "cancelled" for end in ends} | (
                {"expired"} if arrived else set()
            )
        elif arrived:
            assert line.call.phase is Phase.RINGING
            versions = {fact.version: fact.sdp for fact in expected.values() if isinstance(fact, facts.MediaChanged)}
            assert line.call.media_version == max(versions, default=-1)
            assert (line.call.pending_offer or "v=0").startswith(f"v=0 {max(versions)}" if versions else "v=0")
        else:
            assert (line.call.phase, closed) == (Phase.NEW, [])
        rang = [order for order in line.ordered if isinstance(order, orders.StartHandler)]
        assert len(rang) <= 1
        if promptly and ends and SAID[said[0][0]]["event"] == "terminate":
            assert not rang, "a call that ended before it came never rings"


ENDINGS: Final = (SAID.index(COMPLETED), SAID.index(FAILED))
SAYINGS: Final = st.lists(st.tuples(st.integers(0, len(SAID) - 1), st.booleans()), min_size=1, max_size=24)
NO_ENDING: Final = SAYINGS.map(lambda said: [(which, False) for which, _ in said if which not in ENDINGS])
ALL: Final = [(which, False) for which in range(len(SAID))]


def test_any_order_of_a_calls_webhooks_gives_the_same_facts_and_one_outcome(redis_url: str) -> None:
    @given(SAYINGS | NO_ENDING.filter(bool) | st.permutations(ALL + ALL), st.booleans())
    @example([(1, False), (0, False)], True)
    @example([(0, True)], True)
    @example([(0, False), (5, False), (3, False), (4, False), (5, False)], True)
    @example([(0, True), (0, False)], False)
    @settings(max_examples=80, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def any_order(said: list[Saying], promptly: bool) -> None:
        asyncio.run(live(redis_url, said, promptly=promptly))

    any_order()


async def test_a_hundred_copies_of_one_webhook_at_once_are_one_fact_and_one_claim(redis_url: str) -> None:
    async with Wire.from_url(redis_url) as wire, Wire.from_url(redis_url) as other:
        now_ms = await Bus(wire).beat(OWNER, lease_ms=600_000, capacity=5, join=True)
        lines = [Line(Bus(wire)), Line(Bus(other))]
        body = body_of(CONNECT, sent_s=now_ms // 1000)
        routed = await asyncio.gather(*(lines[copy % 2].hear(body, now_ms) for copy in range(100)))
        assert sorted(one for (one,) in routed) == [Routed.DUPLICATE] * 99 + [Routed.PLACED]
        log = await Bus(wire).read_log(CALL)
        assert [type(entry.fact) for entry in log] == [facts.Arrived, facts.Claimed]
