"""Samples how the calls sound, every few seconds, and counts how they had sounded when they ended.

It is in nobody's way: one write for all calls of the worker, and what Redis does not take is dropped.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import NoReturn

from shared import log
from shared import quality as samples
from shared.calls import facts
from shared.errors import RedisAway
from shared.quality import SAMPLE_EVERY_S, Sample
from shared.wire import ReplyError, Wire
from workers.media import quality
from workers.media.leg import Leg, LegFigures


class Sampler:
    """Writes the figures of the legs that are `sounding`, each with its call's id."""

    def __init__(self, wire: Wire, sounding: Callable[[], Iterable[tuple[str, Leg]]], *, retention_hours: int) -> None:
        self.dropped = 0
        """Samples that Redis did not take."""
        self._wire = wire
        self._sounding = sounding
        self._retention_hours = retention_hours
        self._before: dict[Leg, LegFigures] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._away = False
        self._log = log.get()

    async def run(self) -> NoReturn:
        """Sample until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            try:
                await self.write()
            except Exception:  # noqa: BLE001 logged: figures are worth no call, and all end when a chore does
                self._log.exception("samples.failed")

    async def write(self) -> None:
        """Take a sample of every call that sounds, and write them."""
        taken = self._take()
        ended, self._ended = self._ended, Counter()
        try:
            await samples.add(self._wire, taken, ended, retention_hours=self._retention_hours)
        except (RedisAway, ReplyError) as error:
            self.dropped += len(taken)
            if not self._away:
                self._log.warning("samples.dropped", because=str(error))
            self._away = True
        else:
            if self._away:
                self._log.info("samples.resumed", dropped=self.dropped)
            self._away = False

    def ended(self, closed: facts.LegClosed) -> None:
        """Count the figures of a call that has ended; one that never sounded has none."""
        if closed.packets_received or closed.packets_sent:
            samples.count(self._ended, quality.told(closed))

    def _take(self) -> dict[str, Sample]:
        taken, seen = {}, {}
        for call_id, leg in self._sounding():
            seen[leg] = leg.figures()
            taken[call_id] = _sample(quality.since(self._before.get(leg), seen[leg]))
        self._before = seen
        return taken


def _sample(figures: LegFigures) -> Sample:
    judged = quality.judge(figures)
    known = {**asdict(figures), **asdict(judged)}
    return Sample(**{name: known[name] for name in samples.MEASURED})
