"""The sound of one call: what is played and sent to the consumer, who hears and records them. Media loop only."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from shared.calls import facts
from shared.handling import RATES, Frame, Rate
from workers.media import quality
from workers.media.dtmf import Digit, keyed, let_go
from workers.media.encoding import SpeechEncoder
from workers.media.host import Ear
from workers.media.leg import Leg
from workers.media.mixer import Participant
from workers.media.opus import encode_clip
from workers.media.outgoing import Outgoing
from workers.media.tape import Tape
from workers.media.underway import Keying, Playing

IDLE_TICKS: Final = 25
"""With nothing to say a packet of silence goes out this often; Meta ends calls that are silent for 20 s. A peer that
pauses (DTX) sends one every 400 ms by itself, so that nothing is put between the packets passed on from it."""
KEPT_TICKS: Final = 5
"""So long is kept what nobody hears: between `answer` and `hear` passes a moment, and the consumer speaks already."""
LATE_TICKS: Final = 2
"""A handler that is later than this has paused, and starts anew."""
SILENCE: Final = encode_clip(bytes(1920))[0]


class LiveCall:
    """Moves sound between a leg and the handler, 20 ms at a time."""

    def __init__(self, leg: Leg, on_digit: Callable[[Digit], None] | None = None, call_id: str = "") -> None:
        self.call_id: Final = call_id
        self.leg = leg
        leg.on_digit = on_digit
        self.outbound = Outgoing()
        self._clips: deque[Playing] = deque()
        self._keyings: deque[Keying] = deque()
        self._ears: list[Ear] = []
        self.tape = Tape(leg)
        self._music: Playing | None = None  # while the consumer is on hold
        self._rate: Rate = 48000
        self._speech: SpeechEncoder | None = None
        self._unheard_ticks = 0
        self._idle_ticks = IDLE_TICKS
        self._due: deque[bool] = deque(maxlen=LATE_TICKS + 1)
        """A tick each for which the handler had no frame in time, and whether it is heard if it comes."""
        self._waited = 0  # ticks since its last one
        self._sent = 0
        self._bridged: LiveCall | None = None
        self._bridge_over: asyncio.Future[None] | None = None
        self._participant: Participant | None = None  # where it is in a room
        self._last_words: deque[bytes] | None = None

    def tick(self, heard: list[tuple[Ear, Frame]]) -> None:
        """Hear and speak for 20 ms; see `listen` and `speak`."""
        self.listen(heard)
        self.speak()

    def listen(self, heard: list[tuple[Ear, Frame]]) -> None:
        """Add what was heard to the tick's harvest."""
        if not self.leg.live:
            return
        pcm, room = None, self._participant
        wanted = self._music is None and (bool(self._ears) or (room is not None and room.heard))
        if wanted or self.tape.decodes:
            self._unheard_ticks = 0
            pcm = self.leg.pull(self._rate)
        else:
            self._unheard_ticks += 1
            if self._unheard_ticks > KEPT_TICKS:
                self.leg.hear(False)
        if room is not None:
            room.say(pcm if wanted else None)
        if pcm is not None:
            frame = Frame(pcm, self._rate)
            if wanted:
                heard.extend((ear, frame) for ear in self._ears)
            self.tape.take(frame)

    def speak(self) -> None:
        """Send what is due."""
        if not self.leg.live:
            return
        self.leg.video.round(time.monotonic())
        self.outbound.reach()
        self._waited += 1
        self._due.append(not self._replaced)
        if self._keyings and self._last_words is None:
            self._send_key(self._keyings[0])
            self.catch_up()
            return
        payload = self._next_payload()
        if payload is not None:
            self.leg.send_packet(payload)
        elif self._participant is not None and self._last_words is None:
            self._participant.tell()
        self.catch_up()
        self._idle_ticks = self._idle_ticks + 1 if self.leg.packets_sent == self._sent else 0
        cut, self.outbound.cut = self.outbound.cut, False
        if cut and self._idle_ticks:  # within a word, perhaps: left alone, the far side would go on with the sound
            self._idle_ticks = IDLE_TICKS
        if self._idle_ticks >= IDLE_TICKS:
            self.leg.send_packet(SILENCE, comfort=True)
            self._idle_ticks = 0
        self._sent = self.leg.packets_sent

    def catch_up(self) -> None:
        """Send the handler's frame of this tick, and those that came too late for the ticks just before.

        Were the latter left to the ticks that follow, every one would delay all that comes after it by 20 ms for good.
        So would those that something else was sent in place of: they are dropped.
        """
        if not self.outbound:
            return
        if self._waited > LATE_TICKS + 1:
            while len(self._due) > 1:
                self._due.popleft()
        while self._due and (self._replaced or not self._clips):
            frame = self.outbound.take()
            if frame is None:
                return
            if self._due.popleft() and not self._replaced:
                self._say(frame)
            self._waited = 0

    def _say(self, frame: Frame) -> None:
        if self._speech is None:
            self._speech = SpeechEncoder(self.leg)
        packet = self._speech.encode(frame)
        if packet is None:
            self.leg.leave_out()
        else:
            self.leg.send_packet(packet)

    @property
    def _replaced(self) -> bool:
        """Whether something else is sent in place of the handler's frames; for a clip they wait."""
        return bool(self._keyings or self._last_words is not None or self._connected or self._music is not None)

    @property
    def _connected(self) -> bool:
        """Whether other calls speak to this one."""
        return self._bridged is not None or self._participant is not None

    def hold(self, music: Sequence[bytes]) -> None:
        """Play music over and over in place of all but clips, keys and last words, and let nobody hear the consumer."""
        self._music = Playing(music)
        self._let_through()

    def resume(self) -> None:
        """Go on as before `hold`."""
        self._music = None
        self._let_through()

    async def play(self, packets: Sequence[bytes]) -> None:
        """Play a clip after those before it; return when its last packet was sent."""
        if not packets:
            return
        playing = Playing(packets)
        self._clips.append(playing)
        try:
            await playing.done
        finally:
            if playing in self._clips:
                self._clips.remove(playing)

    async def send_digits(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 100) -> None:
        """Press keys, in place of whatever else would be sent; return when the last one was let go.

        Whoever cancels it lets go of the key that is down, in the ticks that follow.

        Raises:
            ValueError: there are no such keys.
            RuntimeError: the peer takes none, or none any more.
        """
        rate = self.leg.event_rate
        packets = keyed(digits, rate or RATES[-1], duration_ms=duration_ms, gap_ms=gap_ms)
        if rate is None:
            raise _takes_no_digits()
        if not packets:
            return
        keying = Keying(packets, asyncio.get_running_loop().create_future())
        self._keyings.append(keying)
        self._let_through()
        try:
            await keying.done
        finally:
            if keying in self._keyings:
                keying.packets = deque(let_go(keying.last))
                if not keying.packets:
                    self._keyings.remove(keying)
            self._let_through()

    def add_ear(self, ear: Ear, rate: Rate) -> None:
        """Let an ear hear from the next tick on."""
        self._use_rate(rate)
        self._ears.append(ear)
        self.leg.hear()

    def remove_ear(self, ear: Ear) -> None:
        """Let an ear hear no more."""
        if ear in self._ears:
            self._ears.remove(ear)

    @property
    def rate(self) -> Rate:
        """Return the rate at which this call is decoded, Hz."""
        return self._rate

    async def bridge(self, other: "LiveCall") -> None:
        """Pass packets both ways, undecoded, until cancelled or one of the calls is closed.

        Raises:
            RuntimeError: one of them is bridged already, be it with the other, or in a room.
        """
        for side in (self, other):
            side._refuse_if_connected()
        over = self._bridge_over = other._bridge_over = asyncio.get_running_loop().create_future()
        for one, another in ((self, other), (other, self)):
            one._bridged = another
        self._let_through()
        try:
            await over
        finally:
            self._part()
            other._part()

    def join(self, participant: Participant) -> None:
        """Hear a room, and be heard there, from the next round on.

        Raises:
            RuntimeError: it is in a room already, or bridged.
            ValueError: it is heard at another rate just now.
        """
        self._refuse_if_connected()
        self._use_rate(participant.mixer.rate)
        self._participant, self._speech = participant, None
        participant.mixer.enter(participant)

    def leave(self, participant: Participant | None) -> None:
        """Leave the room, unless it was left before."""
        if participant is not None and participant is self._participant:
            self._participant = None
            participant.mixer.leave(participant)

    def say_last_words(self, packets: Sequence[bytes]) -> None:
        """Play a clip at once, over whatever else is played, sent or passed on; nothing is heard after it."""
        if self._last_words is None:
            self._last_words = deque(packets)
            self.leg.muted = False
            self._let_through()

    async def close(self) -> facts.LegClosed:
        """Finish what runs, close the leg, and return what was measured. The goodbye waits for no disk."""
        for playing in self._clips:
            playing.done.cancel()
        for keying in self._keyings:
            keying.done.cancel()
        if self._bridge_over is not None and not self._bridge_over.done():
            self._bridge_over.set_result(None)
        self.outbound.clear()
        self.leave(self._participant)
        finishing = asyncio.create_task(self.tape.stop())
        figures = self.leg.figures()
        await self.leg.close()
        await finishing
        return quality.closing(figures)

    def _send_key(self, keying: Keying) -> None:
        packet = keying.last = keying.packets.popleft()
        refused = self.leg.event_rate is None  # by a later offer
        if refused:
            keying.packets.clear()
        elif packet is None:
            self.leg.send_packet(SILENCE)
        else:
            self.leg.send_event(packet.payload, marker=packet.marker, age=packet.age)
        if not keying.packets:
            self._keyings.popleft()
            if not keying.done.done():
                keying.done.set_exception(_takes_no_digits()) if refused else keying.done.set_result(None)
            self._let_through()

    def _next_payload(self) -> bytes | None:
        if self._last_words is not None:
            return self._last_words.popleft() if self._last_words else None
        if self._bridged is not None and self._music is None:
            return None
        if self._clips:
            playing = self._clips[0]
            self._due.clear()  # what waits for a clip is late by its length, and no more is made up for
            payload = playing.take()
            if playing.done.done():
                self._clips.popleft()
            return payload
        return None if self._music is None else self._music.take()

    def _use_rate(self, rate: Rate) -> None:
        if rate not in RATES:
            raise ValueError(f"a call is heard at 48000 or 16000 Hz, not {rate}")
        if rate != self._rate and (self._ears or self._participant is not None):
            raise ValueError(f"this call is already heard at {self._rate} Hz; hear it at the same rate")
        self._rate = rate

    def _refuse_if_connected(self) -> None:
        if self._bridged is not None:
            raise RuntimeError(f"call {self.call_id} is bridged already, both ways; end it before the next")
        if self._participant is not None:
            raise RuntimeError(f"call {self.call_id} is in a room already; leave it before the next")

    def _let_through(self) -> None:
        """Pass on what this call and the bridged one say, unless something else is sent in its place."""
        if self._bridged is None:
            return
        held = self._music is not None or self._bridged._music is not None
        for one, other in ((self, self._bridged), (self._bridged, self)):
            busy = held or one._keyings or one._last_words is not None
            other.leg.forward(None if busy else one.leg)
            other.leg.video.forward(None if held else one.leg.video)

    def _part(self) -> None:
        self.leg.forward(None)
        self.leg.video.forward(None)
        self._bridged = self._bridge_over = None


def _takes_no_digits() -> RuntimeError:
    return RuntimeError("the other side takes no digits: its description has no telephone-event")
