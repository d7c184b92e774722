"""Dead letters: what could not be read or done, kept whole with the reason, until somebody retries or drops it.

    pl:dead         stream  letter (JSON), body (bytes); the entries' ids are the letters'
    pl:dead:count   hash    why -> letters ever buried
    pl:dead:gone    hash    how (`Gone`) -> letters that are no longer there

At most `KEPT` are kept: the oldest make room, which is counted and logged. A letter leaves only by what became of it,
in the same step that says so. What may be done with one: docs/decisions/0004-dead-letters.md.
"""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from shared import log
from shared.wire import Reply, Script, Wire

LETTERS: Final = "pl:dead"
COUNTS: Final = "pl:dead:count"
GONE: Final = "pl:dead:gone"
KEPT: Final = 1_000
"""Bounded, so that a flood of them cannot fill Redis."""

READ_AT_ONCE: Final = 50
"""A letter may hold 8 MiB."""

BODIES_AT_ONCE: Final = 10
"""Where they are thrown away."""


class Gone(StrEnum):
    """How a letter left."""

    RETRIED = "retried"  # another try succeeded
    DROPPED = "dropped"  # somebody said so
    OVERFLOWED = "overflowed"  # the oldest of too many


class Trial(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One request that was made, and what came of it."""

    at_ms: int
    verdict: str
    status: int | None = None
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    trouble: str = ""
    took_ms: int = 0


class Letter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What could not be read or done."""

    id: str = ""
    """Given when it is buried: `<server's ms>-<n>`."""
    why: str
    detail: str = ""
    """One sentence for whoever reads it: the cause and, if known, the remedy."""
    call_id: str = ""
    page: str = ""
    action: str = ""
    epoch: int = 0
    deadline_ms: int = 0
    """When the action lost its use, Unix milliseconds."""
    verdict: str = ""
    attempts: tuple[Trial, ...] = ()
    body: bytes = b""
    """A webhook's body, as it came."""
    signature: bytes = b""
    sink: str = ""
    """Of a call record that was not delivered: where to. The body is the record, as JSON."""
    first_buried_ms: int = 0
    """Of a letter whose retry failed too: when it was buried first."""

    @property
    def buried_ms(self) -> int:
        """Return when it was buried, Unix milliseconds on the server's clock."""
        return int(self.id.partition("-")[0] or 0)


class Standing(NamedTuple):
    """How many letters there are, and were."""

    kept: int
    buried: dict[str, int]
    """Ever, by reason."""
    gone: dict[str, int]
    """Ever, by how."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode
_log = log.get()


class DeadLetters:
    """The letters, over one connection. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._bury = _script("bury")
        self._unbury = _script("unbury")

    async def bury(self, letter: Letter, *, instead_of: str = "") -> str:
        """Keep a letter, in one step with the end of the one it takes the place of, and return its id."""
        told = _encode(replace(letter, id="", body=b""))
        args = (KEPT, letter.why, instead_of, "letter", told, "body", letter.body)
        letter_id, overflowed = await self._bury.run(self._wire, [LETTERS, COUNTS, GONE], args)
        if overflowed:
            _log.error(
                "dead_letters.overflowed", lost=overflowed, kept=KEPT, remedy="pageline dead list; retry or drop"
            )
        return str(letter_id.decode())

    async def unbury(self, letter_id: str, how: Gone) -> bool:
        """Let a letter go; False if it was gone already."""
        return bool(await self._unbury.run(self._wire, [LETTERS, GONE], [letter_id, how]))

    async def find(self, letter_id: str) -> Letter | None:
        """Return a letter, or none where there is no such id (any more)."""
        found = await self._wire.call("XRANGE", LETTERS, letter_id, letter_id)
        return _letter(*found[0]) if found else None

    async def all(self) -> AsyncIterator[Letter]:
        """Yield the letters, the oldest first."""
        after = "-"
        while found := await self._wire.call("XRANGE", LETTERS, after, "+", "COUNT", READ_AT_ONCE):
            for entry in found:
                yield _letter(*entry)
            after = f"({found[-1][0].decode()}"

    async def newest(self, *, limit: int) -> list[Letter]:
        """Return the last ones, the newest first, without their bodies."""
        letters: list[Letter] = []
        before = "+"
        while len(letters) < limit:
            count = min(BODIES_AT_ONCE, limit - len(letters))
            found = await self._wire.call("XREVRANGE", LETTERS, before, "-", "COUNT", count)
            letters += [replace(_letter(*entry), body=b"") for entry in found]
            if len(found) < count:
                break
            before = f"({letters[-1].id}"
        return letters

    async def standing(self) -> Standing:
        """Count them, for metrics and alarms."""
        kept, buried, gone = await asyncio.gather(
            self._wire.send("XLEN", LETTERS), self._wire.send("HGETALL", COUNTS), self._wire.send("HGETALL", GONE)
        )
        return Standing(int(kept), _counts(buried), _counts(gone))


def _script(name: str) -> Script:
    return Script((files("shared") / "lua" / f"{name}.lua").read_text())


def _counts(flat: Reply) -> dict[str, int]:
    return {what.decode(): int(count) for what, count in zip(flat[::2], flat[1::2], strict=True)}


def _letter(letter_id: bytes, flat: list[bytes]) -> Letter:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return replace(_decode(fields[b"letter"]), id=letter_id.decode(), body=fields[b"body"])
