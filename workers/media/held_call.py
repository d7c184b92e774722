"""The handler's side of a call that this worker holds: every method runs on the handlers' loop and crosses over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shared.calls import facts
from shared.handling import Call, Frame, Rate, Room, Sound
from shared.meta.messages import Message
from workers.media.dtmf import Digit
from workers.media.held_desk import HeldDesk
from workers.media.held_passing import HeldPassing, packets_of
from workers.media.held_video import HeldVideo
from workers.media.host import Ear, Host, Keypad
from workers.media.mixer import Participant, mixer_of

if TYPE_CHECKING:
    from workers.media.performer import Performer


class HeldCall(HeldDesk, HeldPassing, HeldVideo):
    """What `shared.handling.Call` asks of its holder."""

    def __init__(self, performer: "Performer", host: Host) -> None:
        super().__init__(performer, host)
        self._keypad = Keypad()

    async def answer(self) -> None:
        """See `Call.answer`."""
        await self._host.on_media_loop(self.performer.answer())

    async def reject(self, reason: str) -> None:
        """See `Call.reject`."""
        await self._host.on_media_loop(self._ask_to_end(facts.RejectAsked(reason=reason)))
        await asyncio.Event().wait()  # until the call has ended, which raises CallEnded here

    async def hang_up(self) -> None:
        """See `Call.hang_up`."""
        await self._host.on_media_loop(self._ask_to_end(facts.HangUpAsked(by="handler")))
        await asyncio.Event().wait()

    async def _ask_to_end(self, fact: facts.RejectAsked | facts.HangUpAsked) -> None:
        self.performer.ask_to_end(fact)

    async def play(self, sound: Sound) -> None:
        """See `Call.play`."""
        await self._host.on_media_loop(self._play(await packets_of(sound)))

    async def _play(self, packets: tuple[bytes, ...]) -> None:
        await self.performer.sounding().play(packets)

    async def hear(self, rate: Rate) -> AsyncIterator[Frame]:
        """See `Call.hear`."""
        ear = Ear()
        await self._host.on_media_loop(self._listen(ear, rate))
        try:
            while True:
                yield await ear.take()
        finally:
            live = self.performer.live
            if live is not None:
                self._host.soon_on_media_loop(live.remove_ear, ear)

    async def _listen(self, ear: Ear, rate: Rate) -> None:
        self.performer.sounding().add_ear(ear, rate)

    async def next_digit(self) -> str:
        """Return the oldest digit that nobody took, waiting for one; see `Call.digits`."""
        self.performer.sounding()
        return await self._keypad.take()

    async def send_digits(self, digits: str) -> None:
        """See `Call.send_digits`."""
        await self._host.on_media_loop(self._send_digits(digits))

    async def _send_digits(self, digits: str) -> None:
        await self.performer.sounding().send_digits(digits)

    def note_digit(self, digit: Digit) -> None:
        """Pass a digit on to the handler; called on the media loop."""
        self._host.soon_on_handlers_loop(self._keypad.put, digit.name)

    def send(self, frame: Frame) -> None:
        """See `Call.send`."""
        live = self.performer.live
        if live is None:
            return
        try:
            live.outbound.put(frame)
        except BufferError as full:
            raise BufferError(f"call {self.performer.call_id}: {full}") from None

    @property
    def queued_frames(self) -> int:
        """See `Call.queued_s`."""
        live = self.performer.live
        return 0 if live is None else len(live.outbound)

    def clear(self) -> int:
        """See `Call.clear`."""
        live = self.performer.live
        return 0 if live is None else live.outbound.clear()

    def mark(self) -> asyncio.Future[bool]:
        """See `Call.mark`."""
        reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        live = self.performer.live
        if live is None:
            reached.set_result(False)
        else:
            live.outbound.mark(lambda played: self._host.soon_on_handlers_loop(_settle, reached, played))
        return reached

    async def start_recording(self, path: str | None, *, stereo: bool) -> str:
        """See `Call.record`."""
        return await self._host.on_media_loop(self.performer.start_recording(path, stereo=stereo))

    async def stop_recording(self) -> None:
        """See `Call.record`."""
        live = self.performer.live
        if live is not None:
            await self._host.on_media_loop(live.tape.stop())

    async def message(self, page: str, psid: str, message: Message) -> str:
        """See `Call.message`; works after the call's end as well."""
        performer = self.performer
        sending = performer.messenger.send(page, psid, message, call_id=performer.call_id)
        return await self._host.on_media_loop(sending)

    async def bridge(self, other: Call) -> None:
        """See `Call.bridge`."""
        held = other.holder
        if not isinstance(held, HeldCall):
            raise TypeError(f"call {other.id} is not held by this worker")
        await self._host.on_media_loop(_bridge(self.performer, held.performer))

    @asynccontextmanager
    async def join(self, room: Room, *, listen_only: bool) -> AsyncIterator[None]:
        """See `Call.join`."""
        live = self.performer.sounding()
        participant = Participant(mixer_of(room, self._host), live.leg, listen_only=listen_only)
        try:
            await self._host.on_media_loop(self._join(participant))
            yield
        finally:
            self._host.soon_on_media_loop(live.leave, participant)

    async def _join(self, participant: Participant) -> None:
        self.performer.sounding().join(participant)


def _settle(reached: asyncio.Future[bool], played: bool) -> None:
    if not reached.done():
        reached.set_result(played)


async def _bridge(one: "Performer", other: "Performer") -> None:
    await one.sounding().bridge(other.sounding())
