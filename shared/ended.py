"""Calls that have ended, for whoever keeps their records: a stream that `done` writes in the step that closes a call.

    pl:{0}:ended   stream   c (call), in the order of their ends; one consumer group for each sink, named after it

An entry stays with a group until the sink has taken the record, or it was given up. Nobody who takes one has to live:
what was not settled falls due again, later after each attempt, for whichever process looks next. Entries go when the
logs go, and so does the whole stream when no call ends for so long; a sink that is new is given what there is.
"""

from typing import Final, NamedTuple

from shared.bus import PREFIX
from shared.wire import Reply, ReplyError, Wire

ENDED: Final = f"{PREFIX}ended"
READER: Final = "reader"
"""All processes read under one name: whose an entry is, its age tells."""
LOOKED_THROUGH: Final = 500


class Entry(NamedTuple):
    """A call whose record a sink is to be given."""

    id: str
    call_id: str
    tries: int
    """This one included."""

    @property
    def ended_ms(self) -> int:
        """Return when the call was closed, Unix milliseconds on the server's clock."""
        return int(self.id.partition("-")[0])


class Pauses(NamedTuple):
    """How long after an attempt the next one is due: twice as long each time, within limits. Milliseconds.

    The first is longer than an attempt may take, so that nobody's work is taken for a dead process's.
    """

    first_ms: int = 30_000
    longest_ms: int = 3_600_000

    def after(self, tries: int) -> int:
        """Return the pause after so many attempts."""
        return int(min(self.first_ms * 2.0 ** min(tries - 1, 60), self.longest_ms))


class Ended:
    """The stream, over one connection. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire, pauses: Pauses | None = None) -> None:
        self._wire = wire
        self._pauses = pauses or Pauses()

    async def take(self, sink: str, *, most: int) -> list[Entry]:
        """Take calls that nobody has tried to tell this sink of."""
        command = ("XREADGROUP", "GROUP", sink, READER, "COUNT", most, "STREAMS", ENDED, ">")
        try:
            found = await self._wire.call(*command)
        except ReplyError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._begin(sink)
            found = await self._wire.call(*command)
        return [_entry(*entry, tries=1) for entry in found[0][1]] if found else []

    async def take_over(self, sink: str, *, most: int) -> list[Entry]:
        """Take calls whose last attempt failed, or died with its process, and whose pause is over."""
        taken: list[Entry] = []
        after = "-"
        while len(taken) < most:
            idle = ("IDLE", self._pauses.first_ms, after, "+", LOOKED_THROUGH)
            try:
                pending = await self._wire.call("XPENDING", ENDED, sink, *idle)
            except ReplyError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                return taken
            for entry_id, _reader, idle_ms, tries in pending:
                pause_ms = self._pauses.after(int(tries))
                if int(idle_ms) >= pause_ms and len(taken) < most:
                    claimed = await self._wire.call("XCLAIM", ENDED, sink, READER, pause_ms, entry_id)
                    taken += [_entry(*entry, tries=int(tries) + 1) for entry in claimed]
            if len(pending) < LOOKED_THROUGH:
                break
            after = f"({pending[-1][0].decode()}"
        return taken

    async def settle(self, sink: str, entry: Entry) -> None:
        """The sink has the record, or will not have it."""
        await self._wire.call("XACK", ENDED, sink, entry.id)

    async def waiting(self) -> dict[str, int]:
        """Return how many records each sink is still to be given."""
        try:
            groups = await self._wire.call("XINFO", "GROUPS", ENDED)
        except ReplyError:  # there is no such stream yet
            return {}
        told = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in groups)
        return {group[b"name"].decode(): int(group[b"pending"]) + int(group.get(b"lag") or 0) for group in told}

    async def _begin(self, sink: str) -> None:
        try:
            await self._wire.call("XGROUP", "CREATE", ENDED, sink, "0", "MKSTREAM")
        except ReplyError as error:
            if not str(error).startswith("BUSYGROUP"):  # somebody else just did
                raise


def _entry(entry_id: bytes, fields: list[Reply], *, tries: int) -> Entry:
    return Entry(entry_id.decode(), fields[1].decode(), tries)
