"""What all viewers of the console see, read once a second for all of them, and only while somebody looks.

A view is cut into sections; a viewer is sent those that changed, as server-sent events. Nothing is kept that the logs
and the index do not hold: a call that was read once is only read on from where it was.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from ingress.console_rows import Watched
from ingress.health import wrongs
from shared import index, jobs, log, quality
from shared.breaker import Breaker
from shared.bus import Bus
from shared.census import Census
from shared.errors import RedisAway
from shared.page_notes import PageNotes
from shared.wire import ReplyError

LOOKS_EVERY_S: Final = 1.0
SAMPLES_EVERY: Final = 5
"""Looks; how a call sounds is known every `quality.SAMPLE_EVERY_S`."""
BEATS_EVERY_S: Final = 5.0
"""A viewer that hears nothing for much longer has lost us."""
SESSION_LOOKED_AT_EVERY_S: Final = 30.0
MOST_NOW: Final = 200
MOST_RECENT: Final = 15
HOURS: Final = 25
"""A day, and the hour in which it began."""

_log = log.get()


class Hub:
    """The view of one web process."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._breaker = Breaker(bus.wire)
        self._notes = PageNotes(bus.wire)
        self._viewers: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._sections: dict[str, bytes] = {}
        self._calls: dict[str, Watched] = {}
        self._hours: dict[int, index.Hour] = {}
        self._looks = 0
        self._due = asyncio.Event()
        self._closed = False

    async def follow(self, may_stay: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Yield events for one viewer until it goes, its session is over, or we close."""
        seen: dict[str, bytes] = {}
        news = asyncio.Event()
        loop = asyncio.get_running_loop()
        look_at_session_s = loop.time() + SESSION_LOOKED_AT_EVERY_S
        looks = -1
        self._join(news)
        try:
            yield b"retry: 1000\n\n"
            while not self._closed:
                news.clear()
                if looks != self._looks:  # a beat says that somebody looks, too
                    looks = self._looks
                    yield b"event: beat\ndata: %d\n\n" % self._bus.now_ms()
                for name, section in tuple(self._sections.items()):
                    if seen.get(name) is not section:
                        seen[name] = section
                        yield b"event: %s\ndata: %s\n\n" % (name.encode(), section)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEATS_EVERY_S):
                        await news.wait()
                if loop.time() > look_at_session_s:
                    look_at_session_s = loop.time() + SESSION_LOOKED_AT_EVERY_S
                    if not await may_stay():
                        yield b"event: over\ndata: 1\n\n"
                        return
        finally:
            self._viewers.discard(news)

    def look_now(self) -> None:
        """Show at once what somebody just did, and not a second later."""
        self._due.set()

    def close(self) -> None:
        """Let all viewers go: they come back to another process."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        self._wake()

    def _join(self, news: asyncio.Event) -> None:
        self._viewers.add(news)
        if self._looking is None or self._looking.done():
            self._sections = {}  # of who looked before, long ago perhaps
            self._looking = asyncio.create_task(self._look_while_viewed(), name="console")

    def _wake(self) -> None:
        for news in self._viewers:
            news.set()

    async def _look_while_viewed(self) -> None:
        while self._viewers:
            try:
                sections = {**await self._look(), "redis": {"away": False}}
            except RedisAway:
                sections = {"redis": {"away": True}}
            except (ReplyError, ValueError, msgspec.MsgspecError) as error:  # of another version of ours, perhaps
                _log.exception("console.look_failed")
                sections = {"redis": {"away": True, "error": type(error).__name__}}
            self._looks += 1
            changed = {name: msgspec.json.encode(section) for name, section in sections.items()}
            changed = {name: section for name, section in changed.items() if section != self._sections.get(name)}
            self._sections |= changed
            if changed:
                self._wake()
            self._due.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKS_EVERY_S):
                    await self._due.wait()
        self._calls = {}

    async def _look(self) -> dict[str, Any]:
        wire = self._bus.wire
        census, troubles, notes, standing, depths = await asyncio.gather(
            self._bus.census(),
            self._breaker.troubles(),
            self._notes.notes(),
            self._bus.dead_letters.standing(),
            jobs.depths(wire),
        )
        held, waiting, kept, hours = await asyncio.gather(
            index.held_by(wire, [worker.worker for worker in census.workers]),
            index.waiting(wire, limit=MOST_NOW),
            index.count(wire),
            self._read_hours(self._bus.now_ms()),
        )
        now = dict.fromkeys([*(call for calls in held for call in calls), *waiting])
        last = await index.newest(wire, limit=MOST_RECENT + min(MOST_NOW, len(now)))
        recent = [each.call_id for each in last if each.call_id not in now][:MOST_RECENT]
        shown = [*now][:MOST_NOW]
        await self._read(shown, recent)
        return {
            "calls": {"total": max(len(now), _alive(census)), "rows": self._rows(shown)},
            "recent": {"kept": kept, "rows": self._rows(recent)},
            "hours": hours,
            "workers": [worker._asdict() for worker in census.workers],
            "deaths": [death._asdict() for death in census.deaths],
            "queues": {"waiting": census.waiting, "waited_s": census.waited_ms // 1000, **depths},
            "wrongs": wrongs(census, troubles, notes),
            "dead": {"kept": standing.kept, "buried": sum(standing.buried.values()), "gone": standing.gone},
        }

    async def _read(self, now: Sequence[str], recent: Sequence[str]) -> None:
        """Read on in the logs of these calls, and forget the others."""
        wanted = dict.fromkeys([*now, *recent])
        self._calls = {call_id: self._calls.get(call_id) or Watched(call_id) for call_id in wanted}
        open_ones = {call_id: call.seq for call_id, call in self._calls.items() if not call.over}
        for call_id, entries in (await index.news(self._bus.wire, open_ones)).items():
            self._calls[call_id].go_on(entries)
        if self._looks % SAMPLES_EVERY == 0:
            for call_id, sample in (await quality.latest(self._bus.wire, now)).items():
                self._calls[call_id].hear(sample)

    def _rows(self, call_ids: Sequence[str]) -> list[dict[str, Any]]:
        return [self._calls[call_id].row for call_id in call_ids if self._calls[call_id].row]

    async def _read_hours(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the last hours; one that is over is read once more after its end, and then no more."""
        this = now_ms - now_ms % index.HOUR_MS
        wanted = [this - back * index.HOUR_MS for back in range(HOURS)]
        unread = [began_ms for began_ms in wanted if began_ms == this or began_ms not in self._hours]
        read = {hour.began_ms: hour for hour in await index.hours(self._bus.wire, unread)}
        known = {began_ms: read.get(began_ms) or self._hours[began_ms] for began_ms in wanted}
        self._hours = {began_ms: hour for began_ms, hour in known.items() if began_ms != this}
        return [known[began_ms]._asdict() for began_ms in reversed(wanted)]


def _alive(census: Census) -> int:
    return census.waiting + sum(worker.held for worker in census.workers)
