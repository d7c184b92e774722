"""Brings the records of calls that have ended to every sink: at least once, and no sink waits for another.

One courier for each sink. It holds nothing: what it took and did not settle, because the sink failed or the process
died, falls due again for whichever process looks next (`shared.ended`). What a sink has not taken in a day, or while
the log it is folded from lasts, becomes a dead letter with the record in it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

import msgspec

from shared import log
from shared.bus import Bus
from shared.calls.record import Record, record_of
from shared.dead import Letter
from shared.ended import Ended, Entry
from shared.errors import RedisAway
from shared.records.sink import Sink, SinkFailed

WHY: Final = "record_not_delivered"
LOOKED_AT_EVERY_S: Final = 1.0
AT_A_TIME: Final = 4
"""To one sink. One that hangs may hold up so many threads and look-ups of its name, which Graph's needs beside it."""
FAILED_PAUSE_S: Final = 5.0
"""Nothing is offered for so long to a sink that took nothing of what it was offered last."""
TAKEN_WITHIN_S: Final = 20.0
"""Less than the pause before another process takes the entry for a dead one's."""
TRIES: Final = 30
"""With the pauses of `shared.ended`, a day."""
OF_THE_LOG_S_LIFE: Final = 0.75
"""What is not delivered by then is given up while it can still be folded."""

_log = log.get()


class Terms(NamedTuple):
    """How records are made and how long they are tried."""

    with_psid: bool = False
    tries: int = TRIES


class Round(NamedTuple):
    """What came of one look at what is due."""

    due: int
    failed: int


class Courier:
    """Serves one sink."""

    def __init__(self, sink: Sink, bus: Bus, ended: Ended, terms: Terms) -> None:
        self._sink = sink
        self._bus = bus
        self._ended = ended
        self._terms = terms

    async def run(self) -> NoReturn:
        """Serve it for ever."""
        while True:
            pause_s = LOOKED_AT_EVERY_S
            try:
                due, failed = await self.round()
                if failed and failed == due:
                    pause_s = FAILED_PAUSE_S
                elif due == AT_A_TIME:
                    pause_s = 0
            except RedisAway:
                pass
            except Exception:  # noqa: BLE001 what was taken falls due again
                _log.exception("records.broke", sink=self._sink.name)
            await asyncio.sleep(pause_s)

    async def round(self) -> Round:
        """Deliver what is due, a few at a time, what has waited before what is new.

        Raises:
            RedisAway: Redis did not confirm; nothing is lost by it.
        """
        due = await self._ended.take_over(self._sink.name, most=AT_A_TIME)
        if len(due) < AT_A_TIME:
            due += await self._ended.take(self._sink.name, most=AT_A_TIME - len(due))
        settled = await asyncio.gather(*(self._deliver(entry) for entry in due))
        return Round(len(due), settled.count(False))

    async def _deliver(self, entry: Entry) -> bool:
        """Deliver one record; False if the sink did not take it."""
        facts = [each.fact for each in await self._bus.read_log(entry.call_id)]
        record, trouble = None, ""
        try:
            record = record_of(entry.call_id, facts, with_psid=self._terms.with_psid)
        except Exception:  # noqa: BLE001 a mistake of ours must not stand in the way of other calls' records
            _log.exception("record.broke", call=entry.call_id)
            trouble = "its log could not be folded"
        if record is not None:
            trouble = await offer(self._sink, record)
        if not trouble:  # or there is no log any more, and nothing to tell
            await self._ended.settle(self._sink.name, entry)
            return True
        _log.warning(
            "record.not_delivered", call=entry.call_id, sink=self._sink.name, tries=entry.tries, because=trouble
        )
        aged_ms = self._bus.now_ms() - entry.ended_ms
        if entry.tries >= self._terms.tries or aged_ms >= self._bus.log_ms * OF_THE_LOG_S_LIFE:
            await self._bus.bury(letter_of(entry.call_id, record, self._sink.name, trouble))
            await self._ended.settle(self._sink.name, entry)
        return False


async def offer(sink: Sink, record: Record) -> str:
    """Offer a record to a sink, and return why it was not taken, or ""."""
    try:
        async with asyncio.timeout(TAKEN_WITHIN_S):
            await sink.take(record)
    except TimeoutError:
        return f"it took longer than {TAKEN_WITHIN_S:g} s"
    except SinkFailed as failed:
        return str(failed)
    except Exception as error:  # noqa: BLE001 what it says may name whom the record is about
        _log.error("record.broke", call=record.call_id, sink=sink.name, kind=type(error).__name__)
        return f"broken by us: {type(error).__name__}"
    return ""


def letter_of(call_id: str, record: Record | None, sink: str, trouble: str) -> Letter:
    """Return the dead letter of a record that a sink did not take."""
    return Letter(
        why=WHY,
        detail=f"{sink}: {trouble}",
        call_id=call_id,
        page=record.page if record else "",
        sink=sink,
        body=b"" if record is None else msgspec.json.encode(record),
    )


async def retry(sinks: Sequence[Sink], letter: Letter) -> Letter | None:
    """Offer the record in a letter again; return another letter if that failed too."""
    sink = next((sink for sink in sinks if sink.name == letter.sink), None)
    if sink is None:
        trouble = "RECORDS_SINKS of the action workers does not name it any more"
    else:
        record = msgspec.json.decode(letter.body, type=Record)
        trouble = await offer(sink, record)
        if not trouble:
            return None
    return msgspec.structs.replace(letter, id="", detail=f"{letter.sink}: {trouble}")
