"""Calls as the console's pages want them: a list of many, the story of one."""

import re
from typing import Any, Final

from ingress.console_marks import marks
from ingress.console_recordings import Recordings
from ingress.console_rows import row_of
from shared import index, story
from shared.bus import Bus
from shared.calls import facts, sounded
from shared.index import Listed
from shared.log import pseudonym
from shared.outbound import ours_of

PAGE_OF: Final = 50
LONGEST_QUERY: Final = 200
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{12}")
_PSID: Final = re.compile(r"\d{5,32}")


class Calls:
    """Every method raises `RedisAway` when the server did not answer."""

    def __init__(self, bus: Bus, recordings: Recordings) -> None:
        self._bus = bus
        self._recordings = recordings

    async def page(self, before_ms: int | None) -> dict[str, Any]:
        """Return calls first heard of before then, the newest first, and from where to go on; none at the end."""
        found = await index.newest(self._bus.wire, limit=PAGE_OF, before_ms=before_ms)
        more = found[-1].at_ms if len(found) >= PAGE_OF else None
        return {"calls": await self._rows(found), "before": more, "kept": await index.count(self._bus.wire)}

    async def find(self, query: str) -> dict[str, Any]:
        """Return calls by an id or the beginning of one, by a PSID, or by a consumer's pseudonym, the newest first."""
        found = await self._found(query[:LONGEST_QUERY]) if query else []
        return {"calls": await self._rows(found), "before": None, "kept": await index.count(self._bus.wire)}

    async def _rows(self, found: list[Listed]) -> list[dict[str, Any]]:
        logs = await index.news(self._bus.wire, {each.call_id: 0 for each in found})
        return [row_of(each, [entry.fact for entry in logs[each]]) for each, _ in found if each in logs]

    async def story(self, call_id: str, *, whole_ids: bool) -> dict[str, Any] | None:
        """Return everything worth knowing of a call; none where nothing is known. PSIDs are whole with `whole_ids`."""
        told = await story.read(self._bus, call_id)
        if told is None:
            return None
        log = [entry.fact for entry in told.entries]
        closed = next((fact for fact in reversed(log) if isinstance(fact, facts.LegClosed)), None)
        full = told.full()
        timeline = zip(told.entries, full.pop("timeline"), strict=True)
        return {
            **full,
            **row_of(told.call_id, log),
            "meta_id": told.call.meta_id or None,
            "psid": told.call.consumer if whole_ids else None,
            "now_ms": self._bus.now_ms(),
            "last_ms": log[-1].at_ms,
            "facts": [
                {"at_ms": entry.fact.at_ms, "fact": shown["fact"], "details": story.details(entry.fact)}
                for entry, shown in timeline
            ],
            "marks": [mark.as_dict() for mark in marks(log)],
            "figures": [] if closed is None else sounded.told(closed),
            "recordings": self._recordings.told(told.entries),
        }

    async def _found(self, query: str) -> list[Listed]:
        """Look for calls by whatever the query may be."""
        wire = self._bus.wire
        if _PSEUDONYM.fullmatch(query):
            found = await index.of_consumer(wire, query, limit=PAGE_OF)
        elif _PSID.fullmatch(query):
            found = await index.of_consumer(wire, pseudonym(query), limit=PAGE_OF)
        else:
            found = []
        return found or await index.beginning_with(wire, await ours_of(self._bus, query), limit=PAGE_OF)
