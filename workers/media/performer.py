"""Carries out the orders for one call: runs its handler, holds its leg, posts its actions. Decides nothing.

Whatever happens here becomes a fact. Facts leave through one queue per call, in order, and are said again while Redis
is away; the machine alone concludes anything from them.
"""

import asyncio
import functools
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from shared import log
from shared.bus import Bus
from shared.calls import facts, orders, state
from shared.desk.floor import Floor
from shared.handling import AnswerRefused, Call, CallEnded, Handler
from shared.messenger import Messenger
from workers.media import last_words
from workers.media.agents import Agents
from workers.media.archive import Archive
from workers.media.casting import Casting
from workers.media.changes import Changes
from workers.media.held_call import HeldCall
from workers.media.host import STOP_GRACE_S, Host
from workers.media.leg import LegFailed
from workers.media.live_call import LiveCall
from workers.media.placer import Placer
from workers.media.spare_legs import SpareLegs
from workers.media.succession import Succession
from workers.media.tape import recorder

REFUSED_GRACE_S: Final = 5.0
CONNECTED_WITHIN_S: Final = 10.0


class Performer(Placer):
    """One call in this worker's hands, under one epoch."""

    def __init__(
        self,
        call_id: str,
        epoch: int,
        *,
        bus: Bus,
        worker: str,
        host: Host,
        casting: Casting,
        legs: SpareLegs,
        lives: dict[LiveCall, None],
        archive: Archive,
        messenger: Messenger,
        apology: Sequence[bytes] = (),
        post_answers: bool = False,
    ) -> None:
        super().__init__(call_id, epoch, bus=bus, worker=worker)
        self.messenger = messenger
        self._host = host
        self._legs = legs
        self._lives = lives
        self._archive = archive
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered: asyncio.Future[None] | None = None
        self._asked = False  # by the handler that has the call now
        self._placed: state.Call | None = None  # as it was when we offered it, where we place it
        self._holder = HeldCall(self, host)
        self._handlers = Succession(self, host, casting, apology)
        self._negotiated: asyncio.Task[None] | None = None
        self._outcome = "ended"
        self._over = False
        self._recorded = 0
        self.log = log.get().bind(call=call_id, epoch=epoch)
        self.live: LiveCall | None = None
        self.changes = Changes(
            lambda: self.live.leg if self.live else None, self.say, self.spawn, post_answers=post_answers
        )
        self.agents = Agents(call_id, epoch, floor=Floor(bus), legs=legs, lives=lives, say=self.say, spawn=self.spawn)
        self.spawn(self.tell_all())

    # -- orders ----------------------------------------------------------------------------------------------

    async def perform(self, order: orders.Order, call: state.Call, *, seq: int) -> None:
        """Carry out one order, or start to; it follows from entry `seq` of the log.

        Raises:
            LeaseLost: another worker owns the call.
        """
        match order:
            case orders.StartHandler():
                self._handlers.start(call)
            case orders.RunOnLost():
                self._handlers.run_on_lost(call)
            case orders.StopHandler(because=outcome):
                self._outcome, self._over = outcome, True
                refused = self._answered is not None and self._answered.done() and self._answered.exception()
                self._handlers.stop(outcome, after_s=REFUSED_GRACE_S if refused else 0)
            case orders.RefuseAnswer():
                if self._answered is not None and not self._answered.done():
                    self._answered.set_exception(
                        AnswerRefused(
                            order.message, code=order.code, subcode=order.subcode, fbtrace_id=order.fbtrace_id
                        )
                    )
            case orders.PostAction():
                self.spawn(self.post(order, call.page))
            case orders.MakeOffer():
                self._placed, self._answered = call, asyncio.get_running_loop().create_future()
                self._answered.add_done_callback(lambda it: it.cancelled() or it.exception())  # nobody may wait for it
                self.spawn(self._offer())
            case orders.Shelve():
                await self.shelve(seq, call.deadline_ms or call.answer_by_ms)
            case orders.Withdraw():
                self.spawn(self.withdraw())
            case orders.Seek(for_ms=for_ms):
                self.spawn(self.seek(call, for_ms))
            case orders.LetSpeak():
                self._let_speak()
            case orders.ApplyAnswer(sdp=sdp, renegotiation=renegotiation):
                self._negotiated = self.spawn(self._negotiate(sdp, renegotiation))
            case orders.ApplyOffer() | orders.ApplyChange() | orders.ChangeAgain() | orders.RefuseChange():
                self.changes.perform(order, call, self._negotiated)
            case orders.AboutAgent():
                self.agents.perform(order)
            case orders.CloseLeg():
                self.agents.part_from_all("call_ended")
                self.spawn(self._close_leg())
            case orders.CloseCall(outcome=outcome):
                done = functools.partial(self._bus.done, self.call_id, self._worker, self.epoch, outcome)
                waited_ms = None if call.answered_ms is None else call.answered_ms - call.arrived_ms
                await self.insist(lambda: done(owes_metrics=call.granted, answer_ms=waited_ms))
            case _:
                raise AssertionError(f"no such order: {order!r}")

    async def abandon(self, *, quietly: bool = True) -> None:
        """Let go of everything, `quietly` without a word on the media path: the call is another worker's."""
        self._handlers.stop("lost")
        live, self.live = self.live, None
        if live is not None:
            self._lives.pop(live, None)
            if quietly:
                live.leg.mute_forever()
        await self._stop_tasks()
        await self.agents.abandon(quietly=quietly)
        if live is not None:
            await live.close()

    async def finish(self) -> None:
        """Stop whatever still runs; a leg whose offer came too late to be ordered closed goes with it."""
        await self._stop_tasks()
        await self.agents.abandon(quietly=False)
        live, self.live = self.live, None
        if live is not None:
            self._lives.pop(live, None)
            await live.close()

    # -- what the handler asks for (media loop) ----------------------------------------------------------------

    async def answer(self) -> None:
        """Offer, and wait until both sides can speak; of a call that we place, until the consumer picks up."""
        if self._asked and self._placed is None:
            raise RuntimeError(f"call {self.call_id} was answered before; call.answer() works once")
        self._asked = True
        if self._answered is None:
            self._answered = asyncio.get_running_loop().create_future()
            await self._offer()
        await asyncio.shield(self._answered)

    def transfer(self, to: str | Handler, options: Mapping[str, str]) -> None:
        """Give the call to another handler."""
        self._handlers.transfer(to, options)

    def handler_replaced(self) -> None:
        """Leave the next handler nothing to wait for but the consumer."""
        self._asked = False
        if self.live is not None:
            self.live.resume()
            self._host.soon_on_handlers_loop(self.live.outbound.clear)

    def public(self, call: state.Call, options: Mapping[str, str]) -> Call:
        """Return the call as a handler meets it."""
        self.agents.introduce(call.page, call.consumer)
        return Call(
            self._holder,
            call_id=self.call_id,
            page=call.page,
            caller=call.consumer,
            direction=call.direction,
            epoch=self.epoch,
            options=options,
            log=self.log,
        )

    async def _offer(self) -> None:
        try:
            leg, offer = await self._legs.take()
        except LegFailed as failed:
            self.say(facts.LegFailed(reason=failed.reason))
        else:
            leg.on_ended = lambda reason: self.say(facts.LegFailed(reason=reason))
            self.live = LiveCall(leg, self._holder.note_digit, self.call_id)
            self.say(facts.OfferMade(sdp=offer))

    async def start_recording(self, wanted: str | None, *, stereo: bool) -> str:
        """Start to record and return the path or URL where it is kept."""
        live = self.sounding()
        if live.tape.runs:
            raise RuntimeError(f"call {self.call_id} is being recorded already; leave that `record` before the next")
        self._recorded += 1
        place = await self._archive.place(self.call_id, self.epoch, self._recorded, wanted)
        await live.tape.record(recorder(place.path, live.rate, stereo=stereo), self._archive.take)
        self.say(facts.RecordingStarted(path=place.kept))
        return place.kept

    def leave(self, because: str) -> None:
        """End the conversation here and now; the log and Meta learn of it when Redis is back."""
        self.say(facts.HangUpAsked(by=because))
        self._handlers.stop(because)
        self.spawn(self._leave())

    async def say_last_words(self) -> None:
        """Tell the consumer that the call has to end, and return when it was heard."""
        await last_words.say(self.live, last_words.LAST_WORDS)

    async def _leave(self) -> None:
        await self.say_last_words()
        if self.live is not None:
            self._lives.pop(self.live, None)
            await self.live.leg.close()

    def ask_to_end(self, fact: facts.RejectAsked | facts.HangUpAsked) -> None:
        """Pass on that the handler wants the call to end.

        Raises:
            CallEnded: it has.
            RuntimeError: an answered call cannot be rejected.
        """
        if self._over:
            raise CallEnded(self._outcome)
        if isinstance(fact, facts.RejectAsked) and self._answered is not None:
            raise RuntimeError(f"call {self.call_id} was answered; only call.hang_up() ends it now")
        self.say(fact)

    def sounding(self) -> LiveCall:
        """Return the call's sound.

        Raises:
            CallEnded: there is none any more.
            RuntimeError: there is none yet.
        """
        if self._answered is None:
            raise RuntimeError(f"call {self.call_id} is not answered yet; await call.answer() first")
        if self.live is None or not self.live.leg.live:
            if self._placed is not None and not self._over and not self.answered:
                raise RuntimeError(f"call {self.call_id} is not connected yet; await call.answer() first")
            raise CallEnded(self._outcome)
        return self.live

    # -- how orders are carried out ----------------------------------------------------------------------------

    def _let_speak(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    async def _negotiate(self, answer: str, renegotiation: str | None) -> None:
        """Apply Meta's answer. Its later offers wait for this alone: one of them may be what lets media connect."""
        if self.live is None or self._answered is None:
            return
        started_ms = self._bus.now_ms()
        live = self.live
        try:
            await live.leg.apply(answer, renegotiation)
        except LegFailed as failed:
            self.say(facts.LegFailed(reason=failed.reason))
        else:
            self.spawn(self._connect(live, started_ms))

    async def _connect(self, live: LiveCall, started_ms: int) -> None:
        try:
            # UNKNOWN whether Meta connects before the consumer picks up
            rings_s = self._placed.ring_ms / 1000 if self._placed else 0.0
            await live.leg.connected(CONNECTED_WITHIN_S + rings_s)
        except LegFailed as failed:
            self.say(facts.LegFailed(reason=failed.reason))
            return
        if self.live is not live:  # closed meanwhile
            return
        self._lives[live] = None
        live.speak()  # the first packet opens the far side's ears, and waits for no tick
        self.say(facts.LegConnected(setup_ms=self._bus.now_ms() - started_ms))
        if self._placed is None:
            self._let_speak()

    @property
    def answered(self) -> bool:
        """Whether both sides can speak, or could."""
        return self._answered is not None and self._answered.done()

    async def _close_leg(self) -> None:
        live, self.live = self.live, None
        if live is None:
            self.say(facts.LegClosed())
            return
        live.leg.on_ended = None
        self._lives.pop(live, None)
        self.say(await live.close())

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._retire)
        return task

    def _retire(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("call.task_failed", task=repr(task.get_coro()), exc_info=error)
            self.say(facts.LegFailed(reason=f"{type(error).__name__}: {error}"))

    async def _stop_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_GRACE_S)
