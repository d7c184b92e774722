"""`/healthz`, `/readyz`, `/metrics`: what a platform, a load balancer and Prometheus ask."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import REGISTRY, CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from shared.bus import Bus
from shared.errors import RedisAway


class Health:
    """The three endpoints, over what the bus counts."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def healthz(self, request: Request) -> Response:
        """Say that the process runs."""
        return PlainTextResponse("ok")

    async def readyz(self, request: Request) -> Response:
        """Say 503 only when Redis is unreachable; what else is wrong is `degraded`. Who drains does not listen."""
        try:
            census = await self._bus.census()
        except RedisAway:
            return JSONResponse({"status": "redis away"}, status_code=503)
        degraded = [] if any(w.capacity for w in census.workers) else ["no media worker takes calls"]
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
        """Render this process's counters and what the bus knows of the rest."""
        of_the_bus = CollectorRegistry()
        try:
            census = await self._bus.census()
            dead = await self._bus.dead_letter_counts()
        except RedisAway:
            census, dead = None, {}
        up = Gauge("pageline_redis_up", "1 while Redis answers.", registry=of_the_bus)
        up.set(census is not None)
        if census is not None:
            held = Gauge("pageline_calls_held", "Calls owned by live media workers.", registry=of_the_bus)
            held.set(sum(w.held for w in census.workers))
            slots = Gauge("pageline_media_slots", "Calls the live media workers can hold.", registry=of_the_bus)
            slots.set(sum(w.capacity or 0 for w in census.workers))
            waiting = Gauge("pageline_calls_waiting", "Calls without an owner.", registry=of_the_bus)
            waiting.set(census.waiting)
            of_the_bus.register(_DeadLetters(dead))
        return Response(generate_latest(REGISTRY) + generate_latest(of_the_bus), media_type=CONTENT_TYPE_LATEST)


class _DeadLetters(Collector):
    """Dead letters ever buried, by reason."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def collect(self) -> list[CounterMetricFamily]:
        family = CounterMetricFamily("pageline_dead_letters", "Dead letters by reason.", labels=["why"])
        for why, count in sorted(self._counts.items()):
            family.add_metric([why], count)
        return [family]
