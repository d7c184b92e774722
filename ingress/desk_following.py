"""What an agent's page is told of the call its agent is on, folded from the call's log; no I/O."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from shared.calls import agent_facts, facts
from shared.entries import LogEntry

SAID_AS: Final = {"left": "hung_up", "call_ended": "caller_left"}
"""Words of the log that the page knows by another."""


class Following:
    """A call that an agent, or a listening supervisor, is on."""

    def __init__(self, call: str, leg: str, *, queue: str, page: str, caller: str, listening: bool = False) -> None:
        self.call: Final = call
        self.leg: Final = leg
        self.listening: Final = listening
        self.seq = 0
        """So many entries of the log were read."""
        self._known = {"queue": queue, "page": page, "caller": caller}
        self._state = "connecting"
        self._since_ms = 0
        self._because = ""

    @property
    def over(self) -> bool:
        """Whether the agent is no longer on the call."""
        return self._state == "ended"

    def read(self, entries: Iterable[LogEntry]) -> Iterator[dict[str, Any]]:
        """Read on in the log, and yield what the page is to be told: of the state the last one only."""
        offer: str | None = None
        before = self._state, self._since_ms
        for entry in entries:
            if entry.seq <= self.seq or self.over:
                continue
            self.seq = entry.seq
            match entry.fact:
                case agent_facts.AgentOffered(leg=self.leg, sdp=sdp):
                    offer = sdp
                case agent_facts.AgentAnswered(leg=self.leg):
                    offer = None
                case fact:
                    self._take(fact)
        if offer is not None and not self.over:
            yield {"type": "offer", "call": self.call, "leg": self.leg, "sdp": offer}
        if before != (self._state, self._since_ms):
            yield self.message()

    def message(self) -> dict[str, Any]:
        """Return how it stands, as the page is told."""
        told = {"type": "call", "call": self.call, "leg": self.leg, **self._known, "listening": self.listening}
        told |= {"state": self._state, "since_ms": self._since_ms}
        return told | ({"because": self._because} if self.over else {})

    def _take(self, fact: facts.Fact) -> None:
        match fact:
            case agent_facts.AgentAsked(leg=self.leg):
                self._since_ms = fact.at_ms
            case agent_facts.AgentConnected(leg=self.leg):
                self._state, self._since_ms = "live", fact.at_ms
            case agent_facts.Held() if self._concerns(fact.leg):
                self._state, self._since_ms = "held", fact.at_ms
            case agent_facts.Resumed() if self._concerns(fact.leg):
                self._state, self._since_ms = "live", fact.at_ms
            case agent_facts.AgentLeft(leg=self.leg, because=because):
                self._end(SAID_AS.get(because, because), fact)
            case facts.Claimed() if self._since_ms:
                self._end("connection_lost", fact)  # the worker that had the call died
            case facts.HangUpAsked():
                self._end("hung_up", fact)
            case facts.HandlerEnded(how="raised"):
                self._end("failed", fact)
            case facts.Terminated() | facts.LegFailed() | facts.Closed():
                self._end("caller_left", fact)

    def _concerns(self, leg: str) -> bool:
        return leg == self.leg or (self.listening and self._state in ("live", "held"))

    def _end(self, because: str, fact: facts.Fact) -> None:
        self._state, self._since_ms, self._because = "ended", fact.at_ms, because
