"""Judges a storm from outside: what was answered 200 against the logs, what Graph received against the rule."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from pageline.bench.storm.graph import Accept, is_double
from shared.bus import Bus
from shared.calls import facts
from shared.entries import LogEntry

READ_TOGETHER: Final = 200
LOOK_EVERY_S: Final = 1.0
SUSPECTS_NAMED: Final = 5


class Verdict(msgspec.Struct, kw_only=True):
    """What was found; lists hold call ids."""

    lost: list[str] = []
    """Once for each event that was answered 200 and is not in its call's log."""
    kept_twice: list[str] = []
    """Once for each event that is in its call's log more than once."""
    double_accepts: list[str] = []
    without_outcome: list[str] = []
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    takeovers: int = 0

    @property
    def spotless(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.kept_twice or self.double_accepts or self.without_outcome)

    def figures(self) -> dict[str, Any]:
        """Return counts, and a few calls to look into for each that is not zero."""
        found = {name: getattr(self, name) for name in ("lost", "kept_twice", "double_accepts", "without_outcome")}
        return {
            **{name: len(calls) for name, calls in found.items()},
            "outcomes": dict(sorted(self.outcomes.items())),
            "takeovers": self.takeovers,
            "suspects": {name: calls[:SUSPECTS_NAMED] for name, calls in found.items() if calls},
        }


async def settle(bus: Bus, calls: Iterable[str], *, quiet_s: float, advance: Callable[[int], None]) -> None:
    """Wait until every call has its last word, or none has found one for so long."""
    open_calls, last_s = list(calls), time.monotonic()
    while open_calls and time.monotonic() - last_s < quiet_s:
        still_open = [call_id async for call_id, log in _logs(bus, open_calls) if not _closed(log)]
        if len(still_open) < len(open_calls):
            advance(len(open_calls) - len(still_open))
            open_calls, last_s = still_open, time.monotonic()
        await asyncio.sleep(LOOK_EVERY_S if open_calls else 0)


async def judge(bus: Bus, kept: Mapping[str, set[str]], accepts: Mapping[str, list[Accept]]) -> Verdict:
    """Read every log and count what must not be."""
    verdict = Verdict()
    async for call_id, log in _logs(bus, list(kept)):
        marks = Counter(mark for entry in log if (mark := _mark(entry.fact)))
        verdict.lost += [call_id] * len(kept[call_id] - marks.keys())
        verdict.kept_twice += [call_id] * (marks.total() - len(marks))
        granted = sum(isinstance(entry.fact, facts.ActionGranted) and entry.fact.action == "accept" for entry in log)
        if granted > 1 or is_double(accepts.get(call_id, [])):
            verdict.double_accepts.append(call_id)
        closed = _closed(log)
        if len(closed) != 1:
            verdict.without_outcome.append(call_id)
        verdict.outcomes.update(closed)
        verdict.takeovers += sum(isinstance(entry.fact, facts.Claimed) and entry.fact.epoch > 1 for entry in log)
    return verdict


async def _logs(bus: Bus, calls: list[str]) -> Any:
    for first in range(0, len(calls), READ_TOGETHER):
        together = calls[first : first + READ_TOGETHER]
        for call_id, log in zip(together, await asyncio.gather(*map(bus.read_log, together)), strict=True):
            yield call_id, log


def _closed(log: list[LogEntry]) -> list[str]:
    return [entry.fact.outcome for entry in log if isinstance(entry.fact, facts.Closed)]


def _mark(fact: facts.Fact) -> str:
    """Return by what name the storm sent this fact; nothing for one that is ours."""
    match fact:
        case facts.Arrived():
            return "connect"
        case facts.Terminated(status=status):
            return f"terminate:{status}"
        case facts.MediaChanged(version=version):
            return f"media_update:{version}"
        case facts.Unrecognized(event=event):
            return event
        case _:
            return ""
