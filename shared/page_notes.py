"""What is known of how Pages stand at Meta, apart from their calls: shown by the web process, gating nothing.

pl:page:reported:<page>      hash    sent_ms, settings: the call settings Meta told of last
pl:page:subscribed:<page>    string  the webhook fields the app was last seen subscribed to, `calls` among them
pl:page:notes                hash    `<page> <about>` -> what is wrong, and until when that is shown
pl:page:watch                string  which action worker looks after the Pages; a lease
"""

import asyncio
from typing import Final, NamedTuple

import msgspec

from shared.clock import unix_ms
from shared.meta.call_settings import CallSettings
from shared.wire import Script, Wire

NOTES: Final = "pl:page:notes"
WATCH: Final = "pl:page:watch"

_REPORT: Final = Script("""
if tonumber(redis.call('HGET', KEYS[1], 'sent_ms') or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'sent_ms', ARGV[1], 'settings', ARGV[2])
return 1
""")
_LEAD: Final = Script("""
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
_decode_settings: Final = msgspec.json.Decoder(CallSettings).decode


class Note(NamedTuple):
    """What is wrong with a Page at Meta."""

    page: str
    about: str
    """`subscription` or `settings`."""
    said: str


class _Kept(msgspec.Struct, frozen=True):
    said: str
    until_ms: int | None = None


_decode_kept: Final = msgspec.json.Decoder(_Kept).decode


class PageNotes:
    """The notes, over one connection. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def lead(self, worker: str, *, lease_ms: int) -> bool:
        """Tell whether this worker is the one that looks after the Pages, until its lease ends."""
        return bool(await _LEAD.run(self._wire, [WATCH], [worker, lease_ms]))

    async def report(self, page: str, settings: CallSettings, *, sent_ms: int) -> None:
        """Keep what Meta tells of a Page's call settings, unless something later is known."""
        await _REPORT.run(self._wire, [_reported(page)], [sent_ms, msgspec.json.encode(settings)])

    async def reported(self, page: str) -> CallSettings | None:
        """Return the call settings Meta told of last; none where it never did."""
        settings = await self._wire.call("HGET", _reported(page), "settings")
        return None if settings is None else _decode_settings(settings)

    async def see_subscribed(self, page: str, fields: frozenset[str]) -> None:
        """Keep what the app is subscribed to."""
        await self._wire.call("SET", _subscribed(page), msgspec.json.encode(sorted(fields)))

    async def seen_subscribed(self, page: str) -> frozenset[str]:
        """Return what the app was last seen subscribed to; nothing where it never was."""
        fields = await self._wire.call("GET", _subscribed(page))
        return frozenset() if fields is None else frozenset(msgspec.json.decode(fields, type=list[str]))

    async def note(self, page: str, about: str, said: str, *, for_s: float | None = None) -> bool:
        """Note what is wrong, for so long or until it is cleared; tell whether that is news."""
        kept = msgspec.json.encode(_Kept(said, None if for_s is None else unix_ms() + int(for_s * 1000)))
        field = f"{page} {about}"
        known, _ = await asyncio.gather(
            self._wire.send("HGET", NOTES, field), self._wire.send("HSET", NOTES, field, kept)
        )
        before = None if known is None else _decode_kept(known)
        return before is None or _is_over(before) or before.said != said

    async def clear(self, page: str, about: str) -> bool:
        """Forget what was wrong; tell whether something was."""
        return bool(await self._wire.call("HDEL", NOTES, f"{page} {about}"))

    async def notes(self) -> list[Note]:
        """Return what is wrong, by Page."""
        flat = await self._wire.call("HGETALL", NOTES)
        fields = (field.decode().rsplit(" ", 1) for field in flat[::2])
        kept = zip(fields, map(_decode_kept, flat[1::2]), strict=True)
        return sorted(Note(page, about, each.said) for (page, about), each in kept if not _is_over(each))


def _is_over(kept: _Kept) -> bool:
    return kept.until_ms is not None and kept.until_ms < unix_ms()


def _reported(page: str) -> str:
    return f"pl:page:reported:{page}"


def _subscribed(page: str) -> str:
    return f"pl:page:subscribed:{page}"
