"""One media worker: keeps its lease, takes calls from its inbox, drains when told to."""

import asyncio
import contextlib
import functools
import os
import socket
import uuid
from collections.abc import Callable, Iterable
from typing import Final

from shared import log
from shared.bus import Bus
from shared.calls import facts
from shared.clock import boot_ms
from shared.entries import Delivery
from shared.errors import LeaseLost, RedisAway, RedisForgot
from shared.messenger import Messenger
from shared.settings import Settings
from shared.vitals import Pulse
from shared.wire import patiently
from workers.media import intake, last_words
from workers.media.archive import Archive
from workers.media.casting import Casting
from workers.media.doorway import Doorway
from workers.media.drive import drive
from workers.media.endings import Endings
from workers.media.holding import Holding, sounding
from workers.media.host import Host
from workers.media.leg import Leg
from workers.media.performer import Performer
from workers.media.rounds import Rounds
from workers.media.sampler import Sampler
from workers.media.spare_legs import SpareLegs
from workers.media.ticker import TICK_S, Ticker
from workers.media.tracing import Tracing

BEAT_EVERY_S: Final = 1.0
LEASE_MARGIN_MS: Final = 1_000
LAST_WORDS_S: Final = 3.0
"""What the last words take; they are heard before the calls that outlast a drain are ended."""
CLOSING_S: Final = 2.0
STORED_WITHIN_S: Final = 3.0
HANDED_ON_AT_MOST: Final = 5
"""A call that breaks worker after worker goes no further."""


class Worker:
    """Owns calls by id through a lease and epochs; see docs/decisions/0001-a-call-is-its-log.md."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus,
        inbox: Bus,
        host: Host,
        casting: Casting,
        make_leg: Callable[[], Leg],
        tracing: Tracing | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._settings = settings
        self._bus = bus
        self._inbox = inbox
        self._host = host
        self._casting = casting
        self._held: dict[str, Holding] = {}
        self._rounds = Rounds(host)
        self._make_free_leg = make_leg
        self._legs = SpareLegs(self._make_leg)
        self._may_send = intake.once_a_batch(self._may_speak)
        self._doorway = Doorway()
        self._messenger = Messenger(bus)
        self._apology = last_words.apology(settings.fallback_prompt)
        self._archive = Archive(settings.recordings, settings.recordings_store, bus.route)
        self._sampler = Sampler(bus.wire, lambda: sounding(self._held), kept_hours=settings.kept_log_hours)
        self._endings = Endings(self._sampler, tracing)
        self._handled = ""
        self._draining = False
        self._left = False
        """Conversations were ended because Redis stayed away."""
        self._froze_ms: int | None = None
        """When we noticed that we had stood still beyond our lease, until a later beat confirms our calls."""
        self._partings: set[asyncio.Task[None]] = set()
        self._confirmed_ms = boot_ms()
        self._ticker = Ticker(
            self._rounds.go,
            frozen_after_ms=settings.lease_ms - LEASE_MARGIN_MS,
            on_frozen=self._fall_silent,
            every_s=tick_s,
        )
        self._pulse = Pulse("media", bus.wire, bus.now_ms, self._ticker.load.late_ms)
        self._log = log.get()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then drain."""
        await self._join()
        self._log.info("worker.joined", worker=self.name, capacity=self._settings.media_capacity)
        chores: list[asyncio.Task[None]] = [
            asyncio.create_task(self._take(), name="inbox"),
            asyncio.create_task(self._beat(), name="beat"),
            asyncio.create_task(self._ticker.run(), name="ticker"),
            asyncio.create_task(self._legs.refill(), name="spare legs"),
            asyncio.create_task(self._sampler.run(), name="samples"),
            asyncio.create_task(self._archive.run(), name="recordings"),
            asyncio.create_task(self._endings.tally.keep_adding_to(self._bus.wire), name="tally"),
            asyncio.create_task(self._pulse.keep_telling(), name="pulse"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait([*chores, stopped], return_when=asyncio.FIRST_COMPLETED)
            for chore in chores:
                if chore.done():
                    chore.result()
            await self._drain()
            await self._archive.settle(STORED_WITHIN_S)
        except LeaseLost:
            await self._let_go()
            raise
        finally:
            stopped.cancel()
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)
        with contextlib.suppress(RedisAway, LeaseLost):
            await self._bus.beat(self.name, lease_ms=0)
            await self._endings.tally.add_to(self._bus.wire)
        self._log.info("worker.left", worker=self.name)

    # -- chores ----------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            asked_ms = boot_ms()
            try:
                await self._bus.beat(
                    self.name, lease_ms=self._settings.lease_ms, capacity=self._slots(), handled=self._handled
                )
            except RedisForgot:
                await self._remember()
            except RedisAway as error:
                away_s = (boot_ms() - self._confirmed_ms) / 1000
                self._log.warning("redis.away", for_s=round(away_s, 1), because=str(error))
                if away_s > self._settings.redis_grace_seconds and not self._left:
                    self._left = True
                    for held in self._held.values():
                        if held.accepted:
                            held.performer.leave("redis_away")
            except LeaseLost:
                self._log.error("worker.fenced", worker=self.name, calls=len(self._held))
                raise
            else:
                self._confirmed_ms, self._left = asked_ms, False
                if self._froze_ms is not None and self._froze_ms <= asked_ms:
                    self._froze_ms = None
                await self._give_back_what_was_forgotten()
            if self._bus.wire.connected:
                await asyncio.sleep(BEAT_EVERY_S)
            else:  # then at once, for others may be back already and count the time
                await self._bus.wire.restored(within_s=BEAT_EVERY_S)

    async def _join(self) -> None:
        await self._bus.beat(self.name, lease_ms=self._settings.lease_ms, capacity=self._slots(), join=True)

    def _slots(self) -> int | None:
        """Return how many calls to ask for; none takes no new ones."""
        return None if self._draining else self._ticker.load.slots(self._settings.media_capacity, len(self._held))

    async def _remember(self) -> None:
        """Join an emptied Redis anew, and tell it of our calls.

        Raises:
            LeaseLost: we stood still for so long that others may own them, and nobody knows any more.
        """
        self._log.error("redis.forgot", worker=self.name, calls=len(self._held))
        if self._froze_ms is not None:
            raise LeaseLost(f"worker {self.name} was away for longer than its lease, and Redis was emptied since")
        await patiently(lambda: self._bus.beat(self.name, lease_ms=self._settings.lease_ms, join=True))
        await self._restore(list(self._held.values()))

    async def _restore(self, forgotten: list[Holding]) -> None:
        """Write the logs of calls that Redis forgot, and part from them: what was queued for them is gone."""
        for held in forgotten:
            held.forgotten = True
            performer, known = held.performer, held.known()
            step = functools.partial(self._bus.restore, performer.call_id, self.name, performer.epoch, known)
            if not known or not await patiently(step):
                self._log.error("call.not_restored", call=performer.call_id, entries=len(known))
        if forgotten:
            parting = asyncio.create_task(self._part_from(forgotten), name="parting")
            self._partings.add(parting)
            parting.add_done_callback(self._partings.discard)

    async def _part_from(self, forgotten: list[Holding]) -> None:
        """Give calls to whoever has room: at once where it rings, and with a word before where somebody listens."""
        await self._hand_on([held for held in forgotten if not held.accepted])
        talking = [held for held in forgotten if held.accepted]
        await self._say_last_words(talking)
        await self._hand_on(talking)

    async def _hand_on(self, hands: list[Holding]) -> None:
        for held in hands:
            held.performer.lease_lost.set()
        await self._until_empty(hands, CLOSING_S)
        for held in hands:
            performer = held.performer
            await patiently(
                functools.partial(self._bus.handoff, performer.call_id, self.name, performer.epoch, anyway=True)
            )

    async def _give_back_what_was_forgotten(self) -> None:
        """Restore single calls that a Redis lost which otherwise remembers: after a fail-over, say."""
        await self._restore(
            [held for held in self._held.values() if held.performer.forgotten.is_set() and not held.forgotten]
        )

    async def _take(self) -> None:
        last = "0-0"
        while True:
            with contextlib.suppress(RedisAway):
                async for deliveries in self._inbox.follow(self.name, after=last):
                    for delivery in deliveries:
                        self._dispatch(delivery)
                        last = self._handled = delivery.id
            await asyncio.sleep(0.2)

    def _dispatch(self, delivery: Delivery) -> None:
        held = self._held.get(delivery.call_id)
        if isinstance(delivery.fact, facts.Claimed) and (
            held is None or held.forgotten or held.performer.epoch < delivery.fact.epoch
        ):
            held = self._held[delivery.call_id] = Holding(self._performer(delivery.call_id, delivery.fact.epoch))
            held.task = asyncio.create_task(self._hold(held), name=f"call {delivery.call_id}")
            if self._draining:
                held.returning = asyncio.create_task(self._hand_back(held))
        if held is not None:
            held.accepted |= isinstance(delivery.fact, facts.ActionGranted)
            held.inbox.put_nowait(delivery)

    async def _hold(self, held: Holding) -> None:
        performer = held.performer
        await self._doorway.enter()
        if performer.lease_lost.is_set():
            await performer.abandon()
            self._forget(held)
            return
        driving = asyncio.create_task(drive(self._bus, self.name, performer, held.inbox, held.log))
        fenced = asyncio.create_task(performer.lease_lost.wait())
        try:
            await asyncio.wait([driving, fenced], return_when=asyncio.FIRST_COMPLETED)
            if not driving.done():
                raise LeaseLost(f"epoch {performer.epoch} of call {performer.call_id} is over")
            driving.result()
            self._endings.tell(held, worker=self.name)
            await performer.finish()
        except LeaseLost as lost:
            if performer.shelved:
                self._log.info("call.shelved", call=performer.call_id, epoch=performer.epoch)
            else:
                self._log.warning("call.abandoned", call=performer.call_id, epoch=performer.epoch, because=str(lost))
            await performer.abandon(quietly=not held.forgotten)
        except Exception as error:  # noqa: BLE001 whatever it is, it must not leave a call that sounds and is nobody's
            self._log.error("call.broken", call=performer.call_id, epoch=performer.epoch, exc_info=error)
            await performer.abandon()
            if performer.epoch < HANDED_ON_AT_MOST:
                await patiently(lambda: self._bus.handoff(performer.call_id, self.name, performer.epoch, anyway=True))
        finally:
            driving.cancel()
            fenced.cancel()
            self._forget(held)

    def _forget(self, held: Holding) -> None:
        if self._held.get(held.performer.call_id) is held:
            del self._held[held.performer.call_id]

    def _performer(self, call_id: str, epoch: int) -> Performer:
        return Performer(
            call_id,
            epoch,
            bus=self._bus,
            worker=self.name,
            host=self._host,
            casting=self._casting,
            legs=self._legs,
            lives=self._rounds.lives,
            archive=self._archive,
            post_answers=self._settings.media_update_answer == "on",
            messenger=self._messenger,
            apology=self._apology,
        )

    def _make_leg(self) -> Leg:
        leg = self._make_free_leg()
        leg.may_speak = self._may_send
        return leg

    def _may_speak(self) -> bool:
        """Tell whether our calls are still ours as far as our own clock knows; asked before anything is sent."""
        return self._froze_ms is None and not self._ticker.froze

    def _fall_silent(self) -> None:
        """Say nothing more until a beat confirms that our calls are still ours."""
        self._log.error("worker.froze", calls=len(self._held))
        self._froze_ms = boot_ms()

    # -- the end ----------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Hand back what was not accepted, let the rest end, and end with a word what does not within DRAIN_SECONDS."""
        self._draining = True
        self._log.info("worker.draining", worker=self.name, calls=len(self._held))
        with contextlib.suppress(RedisAway, LeaseLost):
            await self._bus.beat(self.name, lease_ms=self._settings.lease_ms, handled=self._handled)
        for held in self._held.values():
            if not held.accepted:
                held.returning = asyncio.create_task(self._hand_back(held))
        await self._until_empty(self._held.values(), self._settings.drain_seconds)
        await self._say_last_words(self._held.values())
        for held in self._held.values():
            if held.accepted:
                held.performer.say(facts.HangUpAsked(by="drain"))
        await self._until_empty(self._held.values(), CLOSING_S)
        if self._partings:  # nobody else knows what an emptied Redis has to be told
            await asyncio.wait(self._partings, timeout=LAST_WORDS_S + CLOSING_S)

    async def _say_last_words(self, to: Iterable[Holding]) -> None:
        words = [asyncio.create_task(held.performer.say_last_words()) for held in to]
        if words:
            await asyncio.wait(words, timeout=LAST_WORDS_S)

    async def _let_go(self) -> None:
        """Abandon every call without a word: they have new owners."""
        for held in self._held.values():
            held.performer.lease_lost.set()
        await self._until_empty(self._held.values(), CLOSING_S)

    async def _hand_back(self, held: Holding) -> None:
        performer = held.performer
        if await patiently(lambda: self._bus.handoff(performer.call_id, self.name, performer.epoch)):
            performer.lease_lost.set()

    async def _until_empty(self, hands: Iterable[Holding], timeout_s: float) -> None:
        tasks = [held.task for held in hands if held.task is not None]
        if tasks and timeout_s > 0:
            await asyncio.wait(tasks, timeout=timeout_s)
