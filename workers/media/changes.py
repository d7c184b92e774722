"""Changes of a call's media: Meta's, which are applied as they come, and the handler's, one at a time.

What the handler wants holds here at once where it only takes something away: who mutes is not heard while Meta is
asked. An offer of ours changes nothing until Meta has taken it, so that there is nothing to roll back where it does
not.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Final

from shared import log
from shared.calls import facts, orders, state
from shared.video import MediaRefused, Showing
from workers.media.leg import Leg, LegFailed

AGAIN_AFTER_S: Final = (0.2, 0.8)
"""After a conflict; Meta's own change, which it was about, is on its way meanwhile."""

LABELS: Final[dict[Showing, str]] = {"camera": "default_video", "screen": "screen_video"}

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Changes:
    """The changes of one call's media; used on the media loop.

    Args:
        leg: the call's leg; none when there is none any more.
        say: appends a fact to the call's log.
        spawn: runs a task of the call's.
        post_answers: whether Meta is told how we answer its offers (MEDIA_UPDATE_ANSWER).
    """

    def __init__(
        self, leg: Callable[[], Leg | None], say: Callable[[facts.Fact], None], spawn: Spawn, *, post_answers: bool
    ) -> None:
        self._leg = leg
        self._say = say
        self._spawn = spawn
        self._post_answers = post_answers
        self._turn = asyncio.Lock()
        self._settled: asyncio.Future[None] | None = None
        self._applying: asyncio.Task[None] | None = None
        self._muted = False
        self._showing: Showing = "nothing"
        self._offered: Showing = "nothing"
        """What Meta knows our video track as."""
        self._heard = -1
        self._wanted: tuple[bool, Showing] = (False, "nothing")
        self._log = log.get()

    # --- orders ---

    def perform(self, order: orders.Order, call: state.Call, after: "asyncio.Task[None] | None") -> None:
        """Carry out an order about media, after those before it and after the task that made the leg connect."""
        work: Coroutine[Any, Any, None]
        match order:
            case orders.ApplyOffer(sdp=sdp):
                work = self._renegotiate(sdp, call.media_version)
            case orders.ApplyChange(sdp=sdp, renegotiation=renegotiation):
                work = self._apply(sdp, renegotiation)
            case orders.ChangeAgain():
                work = self._again()
            case orders.RefuseChange():
                work = self._refuse(order)
            case _:
                raise AssertionError(f"no such order: {order!r}")
        self._applying = self._spawn(self._in_turn(work, self._applying or after))

    async def _in_turn(self, work: Coroutine[Any, Any, None], after: "asyncio.Task[None] | None") -> None:
        try:
            if after is not None:
                await asyncio.wait([after])
        except BaseException:
            work.close()
            raise
        await work

    async def _renegotiate(self, offer: str, version: int) -> None:
        leg = self._leg()
        if leg is None:
            return
        try:
            answer = await leg.renegotiate(offer)
        except LegFailed as failed:
            self._log.warning("leg.renegotiation_failed", reason=failed.reason)
            return
        self._heard = version
        if self._post_answers:
            self._say(facts.MediaAnswerMade(version=version, sdp=answer))

    async def _apply(self, answer: str | None, renegotiation: str | None) -> None:
        leg, settled = self._leg(), self._settled
        if leg is None or settled is None or settled.done():
            return
        try:
            if answer is not None:
                await leg.take_answer_again(answer)
            if renegotiation is not None:
                await leg.renegotiate(renegotiation)
        except LegFailed as failed:
            settled.set_exception(MediaRefused(failed.reason))
        else:
            settled.set_result(None)

    async def _again(self) -> None:
        await asyncio.sleep(random.uniform(*AGAIN_AFTER_S))
        leg = self._leg()
        if leg is not None and leg.live and self._settled is not None and not self._settled.done():
            self._offer(leg)

    async def _refuse(self, order: orders.RefuseChange) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_exception(
                MediaRefused(order.message, code=order.code, subcode=order.subcode, fbtrace_id=order.fbtrace_id)
            )

    # --- what the handler asks for ---

    async def change(self, leg: Leg, *, muted: bool | None, showing: Showing | None) -> None:
        """Change what is given, and return when Meta has taken it.

        Raises:
            MediaRefused: it has not.
        """
        if muted is not None:
            leg.muted = muted
        if showing == "nothing":
            leg.video.stopped = True
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda it: it.cancelled() or it.exception())  # the handler may have stopped waiting
        self._spawn(self._see_through(self._change(leg, muted, showing), done))
        await asyncio.shield(done)

    async def _see_through(self, change: Coroutine[Any, Any, None], done: asyncio.Future[None]) -> None:
        """Finish a change whether or not the handler waits for it; one that is refused is no failure of the call's."""
        try:
            await change
        except (MediaRefused, LegFailed) as refused:
            done.set_exception(refused if isinstance(refused, MediaRefused) else MediaRefused(refused.reason))
        else:
            done.set_result(None)
        finally:
            done.cancel()

    async def _change(self, leg: Leg, muted: bool | None, showing: Showing | None) -> None:
        async with self._turn:
            self._wanted = self._muted if muted is None else muted, showing or self._showing
            if self._wanted != (self._muted, self._showing):
                self._settled = asyncio.get_running_loop().create_future()
                self._offer(leg)
                await self._settled
            self._muted, self._showing = self._wanted
            if self._showing != "nothing":
                self._offered = self._showing
            leg.video.stopped = self._showing == "nothing" and leg.video.stopped

    def _offer(self, leg: Leg) -> None:
        """Say what is wanted: a description only where Meta does not know the track, or takes no video (any more)."""
        muted, showing = self._wanted
        tracks = [(leg.audio_track, "default_audio", "disabled" if muted else "enabled")]
        sdp = None
        if showing != "nothing":
            if showing != self._offered or leg.video.peer_takes is None:
                if self._offered not in ("nothing", showing):
                    leg.video_track = str(uuid.UUID(int=random.getrandbits(128), version=4))
                sdp = leg.offer_again()
            tracks.append((leg.video_track, LABELS[showing], "enabled"))
        elif self._offered != "nothing":
            tracks.append((leg.video_track, LABELS[self._offered], "disabled"))
        self._say(facts.MediaOffered(sdp=sdp, tracks=tuple(tracks), heard=self._heard))
