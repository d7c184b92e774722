"""A call as a line of the console, folded from its log; the consumer is a pseudonym."""

from collections.abc import Sequence
from typing import Any, Final

from shared import log
from shared.calls import facts
from shared.calls.summary import summary
from shared.entries import LogEntry
from shared.quality import Sample

_NAMES: Final = ("call_id", "phase", "outcome", "because", "direction", "page", "started_ms", "live_ms", "ended_ms")


class Watched:
    """A call that is read on as it goes on."""

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id
        self._facts: list[facts.Fact] = []
        self.seq = 0
        """Of the last entry that was read."""
        self.over = False
        self.row: dict[str, Any] = {}
        """Empty as long as nothing is known."""

    def go_on(self, entries: Sequence[LogEntry]) -> None:
        """Take in what was appended to the log."""
        self._facts += [entry.fact for entry in entries]
        self.seq = entries[-1].seq
        sounds = {name: self.row[name] for name in ("mos", "lost_percent") if name in self.row}
        self.row = row_of(self._call_id, self._facts) | sounds
        if self.row["phase"] == "ended":
            self.over, self._facts = True, []  # what comes after the last word changes nothing here

    def hear(self, sample: Sample) -> None:
        """Take in how it sounds."""
        if self.row and not self.over:
            self.row |= sound_of(sample)


def row_of(call_id: str, told: Sequence[facts.Fact]) -> dict[str, Any]:
    """Return what fits on a line."""
    known = summary(call_id, told)
    row = {name: known[name] for name in _NAMES}
    row["consumer"] = known["consumer"] and log.pseudonym(known["consumer"])
    owners = [fact.worker for fact in told if isinstance(fact, facts.Claimed)]
    died = row["because"] == "worker_died"  # then the last one only ended it
    row["owner"] = owners[-2 if died and len(owners) > 1 else -1] if owners else ""
    closed = next((fact for fact in reversed(told) if isinstance(fact, facts.LegClosed)), None)
    if closed is not None:
        row["mos"] = closed.mos_estimate if closed.mos_estimate is not None else closed.sent_mos_estimate
    return row


def sound_of(sample: Sample) -> dict[str, Any]:
    """Return how a call sounds: an estimate of the score, and what was lost on the way to us, per cent."""
    mos = sample.mos_estimate if sample.mos_estimate is not None else sample.sent_mos_estimate
    sent = (sample.packets_received or 0) + (sample.packets_lost or 0)
    lost = None if not sent else round(100 * max(0.0, sample.packets_lost or 0) / sent, 1)
    return {"mos": mos, "lost_percent": lost}
