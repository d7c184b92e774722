"""Folds one call's log into its state and has done what the facts since our claim order."""

import asyncio
import functools

from shared.bus import Bus
from shared.calls import facts
from shared.calls.machine import transition
from shared.calls.state import Call, Phase
from shared.entries import Delivery, LogEntry
from shared.errors import LeaseLost
from shared.wire import patiently
from workers.media.performer import Performer


async def drive(
    bus: Bus, worker: str, performer: Performer, inbox: "asyncio.Queue[Delivery]", log: list[LogEntry]
) -> Call:
    """Fold a call until it has ended, and carry out its orders; `log` is filled with what was folded.

    A successor folds its predecessor's facts in silence until it meets its own `Claimed`; there the machine says what
    is left to do. Crash recovery is no other path than this one.

    Raises:
        LeaseLost: another worker owns the call. Send nothing after this.
    """
    call = Call()
    armed: int | None = -1
    while call.phase is not Phase.ENDED:
        for entry in await _next_entries(bus, performer.call_id, inbox, len(log)):
            log.append(entry)
            call, todo = transition(call, entry.fact)
            handed_back = isinstance(entry.fact, facts.HandedBack) and entry.fact.epoch == performer.epoch
            if call.epoch > performer.epoch or handed_back:
                raise LeaseLost(f"call {performer.call_id} has a new owner, epoch {call.epoch}")
            if call.epoch < performer.epoch:
                continue
            for order in todo:
                await performer.perform(order, call, seq=entry.seq)
        if call.epoch == performer.epoch and call.deadline_ms != armed and not call.closing:
            armed = call.deadline_ms
            arm = functools.partial(bus.arm, performer.call_id, worker, performer.epoch, armed, seq=len(log))
            await performer.insist(arm)
    return call


async def _next_entries(bus: Bus, call_id: str, inbox: "asyncio.Queue[Delivery]", seq: int) -> list[LogEntry]:
    """Return what follows entry `seq`: from the inbox, or from the log where the inbox does not join on."""
    delivery = await inbox.get()
    if delivery.seq <= seq:
        return []
    if delivery.seq == seq + 1:
        return [LogEntry(delivery.seq, delivery.fact)]
    if delivery.arrival is not None and delivery.seq == seq + 2:
        return [LogEntry(delivery.seq - 1, delivery.arrival), LogEntry(delivery.seq, delivery.fact)]
    return [entry for entry in await patiently(functools.partial(bus.read_log, call_id)) if entry.seq > seq]
