"""Meta's middle: rings the business, grants one accept, watches the media, and says when a call is over."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import structlog

from simulator import hooks, sdp
from simulator.call_settings import Pages
from simulator.calls import Call, Consumer, EndedBy, Refused, new_id, now_ms
from simulator.media import Media
from simulator.permissions import Permissions
from simulator.postman import Postman
from simulator.settings import AnswerShape, Settings

log = structlog.get_logger("simulator")


class Switchboard:
    """Connects consumers with the business, and keeps every call it ever had."""

    def __init__(self, settings: Settings, postman: Postman, permissions: Permissions, pages: Pages) -> None:
        self._pages = pages
        self.calls: dict[str, Call] = {}
        self._settings = settings
        self._postman = postman
        self._permissions = permissions
        self._tasks: set[asyncio.Task[Any]] = set()

    def ring(
        self,
        consumer: Consumer,
        *,
        page: str | None = None,
        psid: str | None = None,
        answer_shape: AnswerShape | None = None,
        hang_up_after_s: float | None = None,
        give_up_after_s: float | None = None,
    ) -> Call:
        """Lets a consumer call: the webhook leaves at once, and the answer window begins."""
        call = Call(
            id=new_id(),
            direction="user_initiated",
            page=page or self._settings.page,
            psid=psid or self._settings.psid,
            consumer=consumer,
            answer_shape=answer_shape or self._settings.answer_shape,
            hang_up_after_s=hang_up_after_s,
            started_ms=now_ms(),
        )
        self.calls[call.id] = call
        consumer.pick_up()
        self.end_later(call, self._settings.answer_window_s, "timeout")
        if give_up_after_s is not None:
            self.end_later(call, give_up_after_s, "consumer")
        call.in_vain = self._pages.why_in_vain(call.page)
        if call.in_vain is None:
            call.webhook_sent_ms = now_ms()
            self._postman.send_event(call.page, hooks.connect(call))
        return call

    def find(self, page: str, call_id: str | None) -> Call:
        """Returns a call that the business names; raises `Refused`."""
        call = self.calls.get(call_id or "")
        if call is None or call.in_vain is not None:
            raise Refused(2018390, "Invalid call id")
        if call.page != page:
            raise Refused(2018393, "Invalid call participant page")
        return call

    async def accept(self, call: Call, offer_sdp: str) -> Media:
        """Grants the accept, or raises `Refused`."""
        if call.accept_received_ms is None:
            call.accept_received_ms = now_ms()
        self._refuse_over(call, "Cannot join ended call")
        if call.direction == "business_initiated":
            raise Refused(100, "Only a call from a person can be accepted")
        if call.accepting:
            raise Refused(100, "Call already accepted")
        call.accepting = True
        try:
            media = await join(call.consumer, offer_sdp, self._settings)
        except Refused:
            call.accepting = False
            raise
        except TimeoutError as error:
            self.end(call, by="timeout", status="Failed")
            raise Refused(2018395, "Cannot join failed call") from error
        self._refuse_over(call, "Cannot join ended call")
        call.media, call.media_version = media, self._settings.first_version
        self.watch_media(call)
        return media

    def reject(self, call: Call) -> None:
        """Lets the business decline a call that still rings."""
        self._refuse_over(call, "Call already rejected")
        if call.direction == "business_initiated":
            raise Refused(100, "Only a call from a person can be rejected")
        if call.accepting:
            raise Refused(100, "Call already accepted")
        self.end(call, by="business")

    def terminate(self, call: Call) -> None:
        """Lets the business end a call, ringing or not."""
        self._refuse_over(call, "Call already terminated")
        self.end(call, by="business")

    def update_media(self, call: Call) -> None:
        """Sends Meta's present offer as a `media_update` webhook: after a pick-up, a mute, an unmute (section 3.3)."""
        if call.state == "ended" or call.media is None:
            raise Refused(100, "Only an accepted call that goes on has media to update")
        call.media_version += 1
        event = hooks.media_update(call.id, version=call.media_version, offer=call.media.offer(), at_s=time.time())
        self._postman.send_event(call.page, event)

    def end(self, call: Call, *, by: EndedBy, status: Literal["Completed", "Failed"] = "Completed") -> None:
        """Ends a call and tells the business; nothing happens if it has ended already."""
        if call.state == "ended":
            return
        call.state, call.ended_by, call.status, call.ended_ms = "ended", by, status, now_ms()
        self._silence_timers(call)
        if call.media_watch is not None:
            call.media_watch.cancel()
        if call.connected_ms is not None or call.direction == "user_initiated":
            self._permissions.imply(call.page, call.psid)
        # rounded up: a talk of half a second must not look like one that never was
        talked_s = None if call.connected_ms is None else math.ceil((call.ended_ms - call.connected_ms) / 1000)
        event = hooks.terminate(
            call.id, status=status, start_s=call.started_ms / 1000, end_s=call.ended_ms / 1000, duration_s=talked_s
        )
        if call.in_vain is None:
            self._postman.send_event(call.page, event)
        self.spawn(self._put_down(call))
        log.info("call.ended", call_id=call.id, by=by, status=status, duration_s=talked_s)

    def watch_media(self, call: Call) -> None:
        """Waits for the media instead of for somebody who answers: both sides have."""
        self._silence_timers(call)
        call.media_watch = self.spawn(self._watch_media(call))

    def end_later(self, call: Call, delay_s: float, by: EndedBy) -> None:
        """Ends a call after a time, unless something happens in it before."""
        self.later(call, delay_s, lambda: self.end(call, by=by))

    def later(self, call: Call, delay_s: float, what: Callable[[], object]) -> None:
        """Does something after a time, unless something happens in the call before."""
        call.timers.append(asyncio.get_running_loop().call_later(delay_s, what))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Lets something run beside the request that caused it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Hangs up every call and waits until every phone is down."""
        for call in self.calls.values():
            self.end(call, by="consumer")
        await asyncio.gather(*(call.over.wait() for call in self.calls.values()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch_media(self, call: Call) -> None:
        try:
            async with asyncio.timeout(self._settings.media_timeout_s):
                await call.consumer.connected.wait()
        except TimeoutError:
            pass  # never connected: Failed, below
        else:
            call.state, call.connected_ms = "connected", now_ms()
            call.talking.set()
            if call.hang_up_after_s is not None:
                self.end_later(call, call.hang_up_after_s, "consumer")
            await call.consumer.gone.wait()
        call.media_watch = None  # or `end` would cancel the task it runs in
        self.end(call, by="timeout", status="Failed")

    async def _put_down(self, call: Call) -> None:
        try:
            await call.consumer.close(call.ended_by or "consumer")
        finally:
            call.talking.set()
            call.over.set()

    def _refuse_over(self, call: Call, message: str) -> None:
        if call.state == "ended":
            raise Refused(2018395 if call.status == "Failed" else 2018396, message)

    def _silence_timers(self, call: Call) -> None:
        for timer in call.timers:
            timer.cancel()
        call.timers.clear()


async def join(consumer: Consumer, offer_sdp: str, settings: Settings) -> Media:
    """Brings the business's first offer to the consumer's device; raises `Refused` for what is no such offer."""
    try:
        offer = sdp.Offer.parse(offer_sdp)
        if len(offer.sections) != 1:
            raise sdp.InvalidSdp("the offer must have exactly one media section, of audio")
        media = Media(offer, digit_rates=settings.digit_rates, digits_in_answer=settings.digits_in_answer)
        media.meet(sdp.Device.parse(await consumer.answer(media.device_offer())))
    except sdp.InvalidSdp as error:
        raise Refused(2018392, f"Invalid SDP parameter: {error}") from error
    return media
