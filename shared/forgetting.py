"""Everything that Redis holds of one consumer: found by looking into every key, removed, and looked for again.

A consumer is known by the digits of the PSID, wherever they stand: in facts, in the names of keys, in letters, in what
is compressed. Calls that have ended lose their logs and what goes with them (`forget`); what Meta sends again of such a
call is still known for that, and dropped.
"""

import re
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final, NamedTuple

from shared.bus import PREFIX, STASH, Bus, hash_of, script
from shared.calls.record import PATHS_OF
from shared.dead import LETTERS, Gone
from shared.entries import log_entry
from shared.meta.concerns import is_only_about
from shared.wire import Argument, Reply

AT_ONCE: Final = 500
LOG: Final = f"{PREFIX}log:"
CALL: Final = f"{PREFIX}call:"
INBOX: Final = f"{PREFIX}in:"
PARTIES: Final = tuple(f"{PREFIX}{kind}:" for kind in ("asking", "unsure", "stranger"))
MESSAGE: Final = "pl:message:"
_COMPRESSED: Final = b"\x78"


class Theirs(NamedTuple):
    """The calls of a consumer."""

    ended: tuple[str, ...]
    open: tuple[str, ...]
    """Not over yet: ringing, live, or waiting for leave."""
    recordings: tuple[str, ...]
    """Paths and URLs that the ended ones told of."""


class Removed(NamedTuple):
    """How much went."""

    calls: int
    letters: int
    messages: int
    others: int
    """Entries of inboxes, what is known of who may be called, and webhooks that wait to be passed on."""


class Forgetting:
    """One consumer, over one connection. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, bus: Bus, psid: str) -> None:
        self._bus = bus
        self._wire = bus.wire
        self._psid = psid
        self._digits = re.compile(rb"(?<![0-9])" + re.escape(psid.encode()) + rb"(?![0-9])")
        self._forget = script("forget")

    async def theirs(self) -> Theirs:
        """Find the consumer's calls."""
        ended: list[str] = []
        going: list[str] = []
        recordings: list[str] = []
        for key in await self.holding():
            call_id = key.removeprefix(LOG) if key.startswith(LOG) else key.removeprefix(CALL)
            if call_id == key or call_id in {*ended, *going}:
                continue
            log = [log_entry(*entry).fact for entry in await self._wire.call("XRANGE", LOG + call_id, "-", "+")]
            who = {consumer for fact in log if (consumer := getattr(fact, "consumer", ""))}
            if who and self._psid not in who:
                continue  # another's call in which this one is named
            if await self._wire.call("HGET", hash_of(call_id), "st") == b"open":
                going.append(call_id)
            else:
                ended.append(call_id)
                recordings += [fact.path for fact in log if isinstance(fact, PATHS_OF)]
        return Theirs(tuple(ended), tuple(going), tuple(dict.fromkeys(recordings)))

    async def remove(self, calls: Iterable[str], *, pseudonym: str) -> Removed:
        """Remove calls that have ended, and everything else that names the consumer and belongs to nobody else."""
        calls = set(calls)
        gone = [await self._forget.run(self._wire, [hash_of(call)], [call]) == b"gone" for call in sorted(calls)]
        letters = await self._remove_letters(calls, pseudonym.encode())
        others = int(await self._wire.call("DEL", f"{PREFIX}consumer:{pseudonym}"))
        messages = 0
        for key in await self.holding():
            if key.startswith(MESSAGE):
                messages += int(await self._wire.call("DEL", key))
            elif key.startswith(PARTIES):
                others += int(await self._wire.call("DEL", key))
            elif key.startswith(STASH):
                others += await self._remove_stashed(key)
            elif key.startswith(INBOX):
                others += await self._remove_entries(key, calls)
        return Removed(sum(gone), letters, messages, others)

    async def holding(self) -> list[str]:
        """Return the keys that hold the consumer's id, in their names or in what is in them."""
        return [
            key.decode(errors="replace")
            async for key, kind in self._keys("*")
            if self._found_in(key) or await self._holds(key, kind)
        ]

    async def _remove_letters(self, calls: set[str], pseudonym: bytes) -> int:
        doomed = [
            letter.id
            async for letter in self._bus.dead_letters.all()
            if letter.call_id in calls
            or pseudonym in letter.body
            or self._found_in(letter.body)
            or self._found_in(letter.detail.encode())
        ]
        for letter_id in doomed:
            await self._bus.dead_letters.unbury(letter_id, Gone.DROPPED)
        return len(doomed)

    async def _remove_stashed(self, key: str) -> int:
        """Remove a webhook that is about nobody else; one that is goes when it is passed on."""
        stashed = await self._bus.stashed(key.removeprefix(STASH))
        if stashed is None or not is_only_about(stashed[0], self._psid):
            return 0
        return int(await self._wire.call("DEL", key))

    async def _remove_entries(self, inbox: str, calls: set[str]) -> int:
        """Remove what a worker was told of whose these calls were; what it still has to hear of them it will hear."""
        doomed = [
            entry_id
            async for entry_id, fields in self._entries(inbox.encode())
            if fields[1].decode() in calls and any(map(self._found_in, fields))  # `c` comes first
        ]
        return int(await self._wire.call("XDEL", inbox, *doomed)) if doomed else 0

    # -- looking into keys -----------------------------------------------------------------------------------------

    async def _keys(self, pattern: str) -> AsyncIterator[tuple[bytes, bytes]]:
        seen: set[bytes] = set()
        cursor: Argument = b"0"
        while True:
            cursor, keys = await self._wire.call("SCAN", cursor, "MATCH", pattern, "COUNT", AT_ONCE)
            for key in keys:
                if key not in seen:
                    seen.add(key)
                    yield key, await self._wire.call("TYPE", key)
            if cursor == b"0":
                return

    async def _holds(self, key: bytes, kind: bytes) -> bool:
        async for part in self._contents(key, kind):
            if self._found_in(part):
                return True
        return False

    async def _contents(self, key: bytes, kind: bytes) -> AsyncIterator[bytes]:
        match kind:
            case b"string":
                value = await self._wire.call("GET", key)
                if value is not None:
                    yield value
            case b"hash" | b"set" | b"zset":
                command = {b"hash": "HSCAN", b"set": "SSCAN", b"zset": "ZSCAN"}[kind]
                cursor: Argument = b"0"
                while True:
                    cursor, parts = await self._wire.call(command, key, cursor, "COUNT", AT_ONCE)
                    for part in parts:
                        yield part
                    if cursor == b"0":
                        return
            case b"list":
                start = 0
                while parts := await self._wire.call("LRANGE", key, start, start + AT_ONCE - 1):
                    for part in parts:
                        yield part
                    start += AT_ONCE
            case b"stream":
                async for _entry_id, fields in self._entries(key):
                    for part in fields:
                        yield part

    async def _entries(self, stream: bytes) -> AsyncIterator[tuple[bytes, list[Reply]]]:
        after = "-"
        # a letter may hold 8 MiB
        most = 20 if stream == LETTERS.encode() else AT_ONCE
        while found := await self._wire.call("XRANGE", stream, after, "+", "COUNT", most):
            for entry_id, fields in found:
                yield entry_id, fields
            after = f"({found[-1][0].decode()}"

    def _found_in(self, part: bytes) -> bool:
        return any(self._digits.search(each) is not None for each in _readings(part))


def _readings(part: bytes) -> Iterator[bytes]:
    """Return what bytes may be read as: RQ compresses what it keeps of a job."""
    yield part
    if part[:1] == _COMPRESSED:
        try:
            yield zlib.decompress(part)
        except zlib.error:
            return
