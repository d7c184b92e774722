"""`/healthz`, `/readyz`, `/metrics`: what a platform, a load balancer and Prometheus ask."""

import asyncio
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ingress.exposition import Exposition, Known
from ingress.together import own_registry
from shared import jobs, quality, tally, vitals
from shared.breaker import Breaker, Trouble
from shared.bus import Bus
from shared.census import Census
from shared.ended import Ended
from shared.errors import RedisAway
from shared.page_notes import Note, PageNotes


class Health:
    """The three endpoints, over what Redis knows."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._breaker = Breaker(bus.wire)
        self._notes = PageNotes(bus.wire)
        self._ended = Ended(bus.wire)

    async def healthz(self, request: Request) -> Response:
        """Say that the process runs."""
        return PlainTextResponse("ok")

    async def readyz(self, request: Request) -> Response:
        """Say 503 only when Redis is unreachable; what else is wrong is `degraded`. Who drains does not listen."""
        try:
            census, troubles, notes = await asyncio.gather(
                self._bus.census(), self._breaker.troubles(), self._notes.notes()
            )
        except RedisAway:
            return JSONResponse({"status": "redis away"}, status_code=503)
        degraded = wrongs(census, troubles, notes)
        return JSONResponse(
            {
                "status": "degraded" if degraded else "ready",
                "degraded": degraded,
                "media_workers": len(census.workers),
                "calls_held": sum(w.held for w in census.workers),
                "calls_waiting": census.waiting,
            }
        )

    async def metrics(self, request: Request) -> Response:
        """Render what this machine's web processes count and what Redis knows of the rest."""
        try:
            wire = self._bus.wire
            of_calls, of_processes = await asyncio.gather(
                asyncio.gather(
                    self._bus.census(),
                    self._bus.dead_letters.standing(),
                    self._breaker.troubles(),
                    tally.read(wire),
                    quality.spreads(wire),
                    self._notes.notes(),
                ),
                asyncio.gather(vitals.read(wire, self._bus.now_ms()), jobs.depths(wire), self._ended.waiting()),
            )
            known = Known(*of_calls, *of_processes)
        except RedisAway:
            known = None
        of_redis = CollectorRegistry()
        of_redis.register(Exposition(known))
        shown = generate_latest(own_registry()) + generate_latest(of_redis)
        return Response(shown, media_type=CONTENT_TYPE_LATEST)


def wrongs(census: Census, troubles: Iterable[Trouble], notes: Iterable[Note]) -> list[str]:
    """Say what is wrong though Redis answers; nothing of it stops webhooks."""
    busy = ": those that run are overloaded, or drain" if census.workers else ""
    said = [] if any(worker.capacity for worker in census.workers) else [f"no media worker takes calls{busy}"]
    said += [each for trouble in troubles for each in _said_of(trouble)]
    return said + [f"Page {note.page}: {note.said}" for note in notes]


def _said_of(trouble: Trouble) -> list[str]:
    refused = f"Graph refuses Page {trouble.page}, {trouble.run} actions in a row: {trouble.because}"
    crowded = f"Graph's limits for Page {trouble.page}: {trouble.usage}"
    return [refused] * trouble.tripped + [crowded] * bool(trouble.percent)
