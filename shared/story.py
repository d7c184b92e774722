"""The story of a call, folded from its log: what the command line prints and the console shows."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from shared import log, quality
from shared.bus import Bus
from shared.calls import facts
from shared.calls.desk_words import in_words
from shared.calls.machine import transition
from shared.calls.state import Call
from shared.calls.summary import because
from shared.calls.why import Reason, why
from shared.entries import LogEntry
from shared.meta.sdp import digest_of
from shared.outbound import ours_of

T = TypeVar("T")

_BESIDE: Final = frozenset({"fact", "at_ms", "epoch"})


class Story:
    """One call, told from its log."""

    def __init__(self, call_id: str, entries: list[LogEntry], samples: Sequence[quality.Sample] = ()) -> None:
        self.call_id = call_id
        self.entries = entries
        self.samples = samples
        """How it sounded, every few seconds; empty where nobody asked, or nothing sounded for so long."""
        call = Call()
        for entry in entries:
            call, _ = transition(call, entry.fact)
        self.call = call

    def at_ms(self, kind: type[facts.Fact]) -> int | None:
        """Return when the first fact of this kind was logged, Unix milliseconds."""
        return next((entry.fact.at_ms for entry in self.entries if isinstance(entry.fact, kind)), None)

    def first(self, kind: type[T]) -> T | None:
        """Return the first fact of this kind."""
        return next((entry.fact for entry in self.entries if isinstance(entry.fact, kind)), None)

    @property
    def started_ms(self) -> int:
        """Return when the call was first heard of."""
        return self.entries[0].fact.at_ms

    @property
    def lasted_ms(self) -> int:
        """Return how long it took to the last word so far."""
        return self.entries[-1].fact.at_ms - self.started_ms

    def summary(self) -> dict[str, Any]:
        """Return what fits on a line. The consumer is a pseudonym, the same one as in the logs."""
        return {
            "call_id": self.call_id,
            "phase": str(self.call.phase),
            "outcome": self.call.outcome and str(self.call.outcome),
            "because": because(entry.fact for entry in self.entries),
            "page": self.call.page,
            "consumer": self.call.consumer and log.pseudonym(self.call.consumer),
            "direction": self.call.direction,
            "started_ms": self.started_ms,
            "lasted_s": round(self.lasted_ms / 1000, 3),
            "epoch": self.call.epoch,
        }

    def timeline(self) -> list[dict[str, Any]]:
        """Return every fact in order; an SDP is named by its size and digest only."""
        return [_shown(entry.fact) for entry in self.entries]

    def full(self) -> dict[str, Any]:
        """Return everything worth knowing."""
        reasons = [reason._asdict() for reason in self.why()]
        heard = {
            "why": [reason.sentence for reason in self.why()],
            "samples": [_as_dict(sample) for sample in self.samples],
        }
        return {**self.summary(), "why": reasons, "timeline": self.timeline(), "quality": heard}

    def why(self) -> list[Reason]:
        """Return what probably went wrong, the likeliest first."""
        return why([entry.fact for entry in self.entries])


async def read(bus: Bus, call_id: str) -> Story | None:
    """Return the story of one call, by our id or by Meta's, or none if nothing is known of it."""
    kept_as = await ours_of(bus, call_id)
    entries, samples = await asyncio.gather(bus.read_log(kept_as), quality.read(bus.wire, kept_as))
    return Story(kept_as, entries, samples) if entries else None


def details(fact: facts.Fact) -> str:
    """Return what a fact says beside its name, on one line."""
    shown = _shown(fact).items()
    return in_words(fact) or "  ".join(f"{name}={value}" for name, value in shown if name not in _BESIDE)


def _shown(fact: facts.Fact) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(fact)
    shown = {"at_ms": fact.at_ms, **{name: value for name, value in shown.items() if name != "at_ms"}}
    for name in ("sdp", "renegotiation"):
        if shown.get(name):
            shown[name] = f"{len(shown[name])} bytes, {digest_of(shown[name])}"
    for name, value in shown.items():
        if isinstance(value, float):
            shown[name] = round(value, 2)
    if "body" in shown:  # it may name anybody
        shown["body"] = f"{len(shown['body'])} bytes"
    if "consumer" in shown:
        shown["consumer"] = log.pseudonym(shown["consumer"])
    return shown


def _as_dict(sample: quality.Sample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in sample.__struct_fields__}
