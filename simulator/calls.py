"""Meta's middle: rings the business, grants one accept, watches the media, and says when a call is over.

A call is `ringing` until the business can be heard, `connected` until somebody ends it, then `ended`. Whoever holds
the phone on the consumer's side, aiortc or a browser, is a `Consumer`; nothing here knows which.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec
import structlog

from simulator import hooks, sdp
from simulator.settings import AnswerShape, Settings

log = structlog.get_logger("simulator")

EndedBy = Literal["caller", "business", "timeout"]


class Heard(msgspec.Struct, kw_only=True):
    """What reached the consumer's ear."""

    seconds: float = 0.0
    dominant_hz: float | None = None
    packets: int = 0
    lost_packets: int = 0
    first_audio_ms: float | None = None
    recorded: bool = False


class Consumer(Protocol):
    """The consumer's device."""

    connected: asyncio.Event
    """Set once media can flow."""
    gone: asyncio.Event
    """Set when the business has sent nothing for too long."""

    async def answer(self, offer: str) -> str:
        """Takes the business's offer, returns the device's answer; raises `sdp.InvalidSdp` or `TimeoutError`."""

    async def heard(self) -> Heard:
        """Tells what was heard so far."""

    async def close(self, ended_by: EndedBy) -> None:
        """Puts the phone down."""

    def recording(self) -> bytes | None:
        """Returns what was heard as a WAV file, if the device records."""


class Refused(Exception):
    """Says that Graph will not do this, with the code of the reference's section 10.4 where there is one."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True, kw_only=True)
class Call:
    """Holds one call as Meta sees it; times are Unix milliseconds."""

    id: str
    page: str
    psid: str
    consumer: Consumer
    answer_shape: AnswerShape
    hang_up_after_s: float | None
    state: Literal["ringing", "connected", "ended"] = "ringing"
    ended_by: EndedBy | None = None
    status: Literal["Completed", "Failed"] | None = None
    started_ms: float
    webhook_sent_ms: float | None = None
    accept_received_ms: float | None = None
    accepting: bool = False
    connected_ms: float | None = None
    ended_ms: float | None = None
    media_version: int = 0
    offer: sdp.Offer | None = None
    device: sdp.Device | None = None
    talking: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the phone is down and what was heard is final."""
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    media_watch: asyncio.Task[None] | None = None


async def view(call: Call) -> dict[str, Any]:
    """Returns the call as JSON shows it."""
    heard = await call.consumer.heard()

    def since_webhook_ms(at_ms: float | None) -> float | None:
        return None if at_ms is None or call.webhook_sent_ms is None else at_ms - call.webhook_sent_ms

    return {
        "call_id": call.id,
        "page": call.page,
        "psid": call.psid,
        "state": call.state,
        "ended_by": call.ended_by,
        "status": call.status,
        "started_ms": call.started_ms,
        "webhook_sent_ms": call.webhook_sent_ms,
        "accept_received_ms": call.accept_received_ms,
        "connected_ms": call.connected_ms,
        "first_audio_ms": heard.first_audio_ms,
        "ended_ms": call.ended_ms,
        "webhook_to_accept_ms": since_webhook_ms(call.accept_received_ms),
        "webhook_to_first_audio_ms": since_webhook_ms(heard.first_audio_ms),
        "heard": {
            "seconds": heard.seconds,
            "dominant_hz": heard.dominant_hz,
            "packets": heard.packets,
            "lost_packets": heard.lost_packets,
            "recording": f"/sim/calls/{call.id}/recording.wav" if heard.recorded else None,
        },
    }


class Switchboard:
    """Connects consumers with the business, and keeps every call it ever had."""

    def __init__(self, settings: Settings, postman: hooks.Postman) -> None:
        self.calls: dict[str, Call] = {}
        self._settings = settings
        self._postman = postman
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
        """Starts a call: the webhook leaves at once, and the answer window begins."""
        call = Call(
            id="c_" + secrets.token_urlsafe(29)[:38],
            page=page or self._settings.page,
            psid=psid or self._settings.psid,
            consumer=consumer,
            answer_shape=answer_shape or self._settings.answer_shape,
            hang_up_after_s=hang_up_after_s,
            started_ms=now_ms(),
        )
        self.calls[call.id] = call
        self._later(call, self._settings.answer_window_s, "timeout")
        if give_up_after_s is not None:
            self._later(call, give_up_after_s, "caller")
        call.webhook_sent_ms = now_ms()
        self._spawn(
            self._postman.deliver(
                call.page, hooks.connect(call.id, page=call.page, psid=call.psid, at_s=call.started_ms / 1000)
            )
        )
        return call

    async def accept(self, call: Call, offer_sdp: str) -> tuple[str, str]:
        """Grants the accept; returns Meta's answer and renegotiation offer, or raises `Refused`."""
        if call.accept_received_ms is None:
            call.accept_received_ms = now_ms()
        self._refuse_over(call, "Cannot join ended call")
        if call.accepting:
            raise Refused(100, "Call already accepted")
        try:
            offer = sdp.Offer.parse(offer_sdp)
        except sdp.InvalidSdp as error:
            raise Refused(2018392, f"Invalid SDP parameter: {error}") from error
        call.accepting = True
        try:
            device = sdp.Device.parse(await call.consumer.answer(offer.for_device()))
        except sdp.InvalidSdp as error:
            call.accepting = False
            raise Refused(2018392, f"Invalid SDP parameter: {error}") from error
        except TimeoutError as error:
            self.end(call, by="timeout", status="Failed")
            raise Refused(2018395, "Cannot join failed call") from error
        self._refuse_over(call, "Cannot join ended call")
        call.offer, call.device = offer, device
        self._silence_timers(call)
        call.media_watch = self._spawn(self._watch_media(call))
        return sdp.answer(offer, device), sdp.renegotiation(offer, device)

    def reject(self, call: Call) -> None:
        """Lets the business decline a call that still rings."""
        self._refuse_over(call, "Call already rejected")
        if call.accepting:
            raise Refused(100, "Call already accepted")
        self.end(call, by="business")

    def terminate(self, call: Call) -> None:
        """Lets the business end a call, ringing or not."""
        self._refuse_over(call, "Call already terminated")
        self.end(call, by="business")

    def update_media(self, call: Call) -> None:
        """Sends the renegotiation once more as a `media_update` webhook, as when the consumer mutes or unmutes."""
        if call.state == "ended" or call.offer is None or call.device is None:
            raise Refused(100, "Only an accepted call that goes on has media to update")
        call.media_version += 1
        offer = sdp.renegotiation(call.offer, call.device)
        event = hooks.media_update(call.id, version=call.media_version, offer=offer, at_s=time.time())
        self._spawn(self._postman.deliver(call.page, event))

    def end(self, call: Call, *, by: EndedBy, status: Literal["Completed", "Failed"] = "Completed") -> None:
        """Ends a call and tells the business; nothing happens if it has ended already."""
        if call.state == "ended":
            return
        call.state, call.ended_by, call.status, call.ended_ms = "ended", by, status, now_ms()
        self._silence_timers(call)
        if call.media_watch is not None:
            call.media_watch.cancel()
        # rounded up: a talk of half a second must not look like one that never was
        talked_s = None if call.connected_ms is None else math.ceil((call.ended_ms - call.connected_ms) / 1000)
        event = hooks.terminate(
            call.id, status=status, start_s=call.started_ms / 1000, end_s=call.ended_ms / 1000, duration_s=talked_s
        )
        self._spawn(self._postman.deliver(call.page, event))
        self._spawn(self._put_down(call))
        log.info("call.ended", call_id=call.id, by=by, status=status, duration_s=talked_s)

    async def close(self) -> None:
        """Hangs up every call; webhooks that are not taken within a second are lost."""
        for call in self.calls.values():
            self.end(call, by="caller")
        await asyncio.gather(*(call.over.wait() for call in self.calls.values()))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
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
                self._later(call, call.hang_up_after_s, "caller")
            await call.consumer.gone.wait()
        call.media_watch = None  # or `end` would cancel the task it runs in
        self.end(call, by="timeout", status="Failed")

    async def _put_down(self, call: Call) -> None:
        try:
            await call.consumer.close(call.ended_by or "caller")
        finally:
            call.talking.set()
            call.over.set()

    def _refuse_over(self, call: Call, message: str) -> None:
        if call.state == "ended":
            raise Refused(2018395 if call.status == "Failed" else 2018396, message)

    def _later(self, call: Call, delay_s: float, by: EndedBy) -> None:
        call.timers.append(asyncio.get_running_loop().call_later(delay_s, lambda: self.end(call, by=by)))

    def _silence_timers(self, call: Call) -> None:
        for timer in call.timers:
            timer.cancel()
        call.timers.clear()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def now_ms() -> float:
    """Returns the Unix time in milliseconds."""
    return time.time() * 1000
