"""A call in a worker's hands: its performer, its part of the inbox, and what is known of its log."""

import asyncio
from collections.abc import Iterator, Mapping

from shared.calls import facts
from shared.entries import Delivery, LogEntry
from workers.media.leg import Leg
from workers.media.performer import Performer


class Holding:
    """A call in this worker's hands."""

    def __init__(self, performer: Performer) -> None:
        self.performer = performer
        self.inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self.log: list[LogEntry] = []
        """What was folded of the call's log."""
        self.accepted = False
        self.forgotten = False
        """Redis lost it; nobody else speaks for it, so that it may end with a goodbye."""
        self.task: asyncio.Task[None] | None = None
        self.returning: asyncio.Task[None] | None = None

    def sounded(self) -> facts.LegClosed:
        """Return the figures that close the call's log; those of no media where there was none."""
        said = (entry.fact for entry in reversed(self.log) if isinstance(entry.fact, facts.LegClosed))
        return next(said, facts.LegClosed())

    def known(self) -> list[LogEntry]:
        """Return all that we know of the call's log, whether it was folded yet or not."""
        known = list(self.log)
        waiting = [self.inbox.get_nowait() for _ in range(self.inbox.qsize())]
        for delivery in waiting:
            self.inbox.put_nowait(delivery)
            if delivery.arrival is not None and delivery.seq == len(known) + 2:
                known.append(LogEntry(delivery.seq - 1, delivery.arrival))
            if delivery.seq == len(known) + 1:
                known.append(LogEntry(delivery.seq, delivery.fact))
        return known


def sounding(held: Mapping[str, Holding]) -> Iterator[tuple[str, Leg]]:
    """Yield the legs on which media can flow now, with the ids of their calls."""
    for call_id, holding in held.items():
        live = holding.performer.live
        if live is not None and live.leg.live:
            yield call_id, live.leg
