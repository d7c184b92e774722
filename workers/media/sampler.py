"""Samples how the calls sound, every few seconds, and counts how they had sounded when they ended.

It is in nobody's way: one task and few writes for all calls of the worker, and what Redis does not take is dropped.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NoReturn

from shared import log
from shared import quality as samples
from shared.calls import facts
from shared.calls.quality import judge, told
from shared.errors import RedisAway
from shared.quality import SAMPLE_EVERY_S, Sample
from shared.wire import ReplyError, Wire
from workers.media import quality
from workers.media.leg import Leg
from workers.media.session import LegFigures

AT_ONCE: Final = 25
"""Calls in one write."""


class Sampler:
    """Writes the figures of the legs that are `sounding`, each with its call's id."""

    def __init__(self, wire: Wire, sounding: Callable[[], Iterable[tuple[str, Leg]]], *, kept_hours: int) -> None:
        self.dropped = 0
        """Samples that Redis did not take."""
        self._wire = wire
        self._sounding = sounding
        self._kept_hours = kept_hours
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
        """Take a sample of every leg that sounds, and write them; some at a time, so that no tick waits for us."""
        sounding = list(self._sounding())
        self._before = {leg: self._before[leg] for _, leg in sounding if leg in self._before}
        written = 0
        try:
            while written < len(sounding) or self._ended:
                taken = {call_id: self._take(leg) for call_id, leg in sounding[written : written + AT_ONCE]}
                ended, self._ended = self._ended, Counter()
                await samples.add(self._wire, taken, ended, kept_hours=self._kept_hours)
                written += len(taken)
        except (RedisAway, ReplyError) as error:
            self.dropped += len(sounding) - written
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
            samples.count(self._ended, told(closed))

    def took(self, waited: Mapping[str, float | None]) -> None:
        """Count for what the caller of a call that has ended had waited."""
        samples.count(self._ended, waited)

    def _take(self, leg: Leg) -> Sample:
        now = leg.figures()
        between = quality.since(self._before.get(leg), now)
        self._before[leg] = now
        judged = judge(between)
        return Sample(
            **{name: getattr(judged if hasattr(judged, name) else between, name) for name in samples.MEASURED}
        )
