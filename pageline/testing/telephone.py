"""The telephone at the other end, and what a handler makes it do: `shared.handling.Holder` without any media."""

import asyncio
import math
import os
from array import array
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from pageline.testing.desk import PlayedDesk
from pageline.testing.tape import PlayedTape
from pageline.testing.video import PlayedVideo
from shared.attending import Agent, Parted, Place, Wish
from shared.handling import FRAME_MS, RATES, AnswerRefused, Call, CallEnded, Frame, Handler, Rate, Room, Sound
from shared.meta.messages import Message
from shared.speaking import Spoken
from workers.media import sounds
from workers.media.handler import Script, check, load
from workers.media.host import EAR_FRAMES, Keypad
from workers.media.succession import TRANSFERRED

TICK_S: Final = FRAME_MS / 1000
SILENCE: Final = bytes(1920)
SPOKEN_S: Final = 1 / 15
"""For each character of a text: some 150 words a minute."""
QUEUED_FRAMES: Final = 3_000
ENDED_AFTER_REFUSAL_S: Final = 5.0
KEYS: Final = "0123456789*#ABCD"


class Written(NamedTuple):
    """A message to a consumer."""

    page: str
    psid: str
    kind: str
    """`text`, `call_button`, `call_prompt` or `calling_optin`."""
    content: dict[str, Any]
    """Graph's `message`, as in `content["text"]`."""


class Placed(NamedTuple):
    """A call that `line.call` asked for."""

    page: str
    psid: str
    handler: str
    ask_permission: bool
    within_s: float | None
    """None where the handler left it to the line."""
    ring_s: float
    key: str


class Telephone(PlayedVideo):
    """What `Call` and `line` ask of a worker, done on virtual time and written down."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, folder: Path, refuse: AnswerRefused | None, finish: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._loop = loop
        self._folder = folder
        self._refuse = refuse
        self._finish = finish
        self._turn = asyncio.Lock()
        self._free_s = 0.0
        self._marks: list[tuple[asyncio.TimerHandle, asyncio.Future[bool]]] = []
        self._tape: PlayedTape | None = None
        self._asked = False  # by the handler that has the call now
        self._connected = False
        self.desk = PlayedDesk()
        self.answered = False
        self.refused = False
        self.outcome = ""
        self.voice: dict[int, bytes] = {}
        """What the consumer says, by tick: 20 ms at 48 kHz each."""
        self.keypad = Keypad()
        self.heard: list[str | bytes] = []
        self.on_heard: Callable[[], None] = lambda: None
        self.frames: list[Frame] = []
        self.digits = ""
        self.messages: list[Written] = []
        self.placed: list[Placed] = []
        self.recordings: list[str] = []
        self.held = False
        self.given_to: Script | None = None

    @property
    def tick(self) -> int:
        """Return how many times 20 ms have passed."""
        return int(self._loop.time() / TICK_S + 1e-6)

    def end(self, outcome: str) -> None:
        """Raise `CallEnded` at what the handler awaits, once."""
        if not self.outcome:
            self.outcome = outcome
            self._finish(outcome)

    def sounding(self) -> None:
        """Refuse what needs both sides to be able to speak."""
        if self.outcome:
            raise CallEnded(self.outcome)
        if not self.answered:
            raise RuntimeError("this call is not answered yet; await call.answer() first")

    # -- what a call asks for ----------------------------------------------------------------------------------------

    async def answer(self) -> None:
        """See `Call.answer`."""
        if self.outcome:
            raise CallEnded(self.outcome)
        if self._asked:
            raise RuntimeError("this call was answered before; call.answer() works once")
        self._asked = True
        if self._refuse is not None:
            self.refused = True
            self._loop.call_later(ENDED_AFTER_REFUSAL_S, self.end, "failed")
            raise self._refuse
        self.answered = True

    def take_over(self) -> Script | None:
        """Return to whom the call was given, once, as that one finds it: with nothing on its way, and not on hold."""
        given_to, self.given_to = self.given_to, None
        if given_to is not None:
            self._asked = self.held = False
            self.clear()
        return given_to

    async def reject(self, reason: str) -> None:
        """See `Call.reject`."""
        if self.answered:
            raise RuntimeError("this call was answered; only call.hang_up() ends it now")
        self.end("declined")
        await asyncio.Event().wait()

    async def hang_up(self) -> None:
        """See `Call.hang_up`."""
        if self.outcome:
            raise CallEnded(self.outcome)
        self.end("completed" if self.answered else "declined")
        await asyncio.Event().wait()

    async def play(self, sound: Sound) -> None:
        """See `Call.play`."""
        self.sounding()
        seconds = _length_s(sound)
        async with self._turn:
            self.heard.append(_name(sound))
            self.on_heard()
            await asyncio.sleep(seconds)

    async def hear(self, rate: Rate) -> AsyncIterator[Frame]:
        """See `Call.hear`."""
        self.sounding()
        if rate not in RATES:
            raise ValueError(f"a call is heard at 48000 or 16000 Hz, not {rate}")
        tick = self.tick
        while True:
            tick = max(tick + 1, self.tick - EAR_FRAMES)
            await asyncio.sleep(tick * TICK_S - self._loop.time())
            yield Frame(_at(rate, self.voice.get(tick, SILENCE)), rate)

    async def next_digit(self) -> str:
        """See `Call.digits`."""
        self.sounding()
        return await self.keypad.take()

    async def send_digits(self, digits: str) -> None:
        """See `Call.send_digits`."""
        self.sounding()
        if not set(digits) <= {*KEYS, ","}:
            raise ValueError(f"{digits!r} holds what no telephone has as a key")
        for digit in digits:
            await asyncio.sleep(0.5 if digit == "," else 0.2)
            self.digits += digit

    def send(self, frame: Frame) -> None:
        """See `Call.send`."""
        if not self.answered or self.outcome:
            return
        if self.queued_frames >= QUEUED_FRAMES:
            raise BufferError("a minute of sound waits; send no faster than it plays")
        self._free_s = max(self._free_s, self._loop.time()) + TICK_S
        self.frames.append(frame)

    @property
    def queued_frames(self) -> int:
        """See `Call.queued_s`."""
        return max(0, math.ceil((self._free_s - self._loop.time()) / TICK_S - 1e-6))

    def clear(self) -> int:
        """See `Call.clear`."""
        dropped = self.queued_frames
        del self.frames[len(self.frames) - dropped :]
        self._free_s = self._loop.time()
        marks, self._marks = self._marks, []
        for due, mark in marks:
            due.cancel()
            _settle(mark, played=False)
        return dropped

    def mark(self) -> asyncio.Future[bool]:
        """See `Call.mark`."""
        mark: asyncio.Future[bool] = self._loop.create_future()
        due = self._loop.call_at(max(self._free_s, self._loop.time()), lambda: _settle(mark, played=True))
        self._marks = [(waits, other) for waits, other in self._marks if not other.done()]
        self._marks.append((due, mark))
        return mark

    async def start_recording(self, path: str | None, *, stereo: bool) -> str:
        """See `Call.record`."""
        self.sounding()
        if self._tape is not None:
            raise RuntimeError("this call is being recorded already; leave that `record` before the next")
        file = Path(path) if path else self._folder / f"{len(self.recordings) + 1}.opus"
        if file.suffix.lower() not in (".opus", ".ogg", ".wav"):
            raise ValueError(f"{file.name}: a recording ends in .opus or .ogg, or in .wav")
        self._tape = PlayedTape(file, self.tick, stereo)
        self.recordings.append(str(file))
        return str(file)

    async def stop_recording(self) -> None:
        """See `Call.record`."""
        tape, self._tape = self._tape, None
        if tape is not None:
            ticks = range(tape.since_tick + 1, self.tick + 1)
            tape.write(b"".join(self.voice.get(tick, SILENCE) for tick in ticks) or SILENCE)

    async def hold(self, music: tuple[Sound, ...]) -> None:
        """See `Call.hold`."""
        self.sounding()
        for sound in music:
            _length_s(sound)
        self.held = True

    async def resume(self) -> None:
        """See `Call.resume`."""
        self.sounding()
        self.held = False

    async def transfer(self, to: str | Handler, options: Mapping[str, str]) -> NoReturn:
        """See `Call.transfer`; any handler that can be imported can have the call here."""
        if self.outcome:
            raise CallEnded(self.outcome)
        self.given_to = load(to) if isinstance(to, str) else Script(to.__qualname__, to, None)
        check(self.given_to, options)
        self.given_to = self.given_to._replace(options=options)
        self._finish(TRANSFERRED)
        while True:
            await asyncio.Event().wait()

    async def bridge(self, other: Call) -> None:
        """See `Call.bridge`; a call can be bridged with itself here."""
        self.sounding()
        if other.holder is not self:
            raise NotImplementedError("a Conversation has one call, which can be bridged with itself and no other")
        async with self._connection():
            await asyncio.Event().wait()

    @asynccontextmanager
    async def join(self, room: Room, *, listen_only: bool) -> AsyncIterator[None]:
        """See `Call.join`; nobody else is in the room."""
        self.sounding()
        async with self._connection():
            yield

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[None]:
        if self._connected:
            raise RuntimeError("this call is bridged or in a room already; end that before the next")
        self._connected = True
        try:
            yield
        finally:
            self._connected = False

    @asynccontextmanager
    async def queue(self, wish: Wish) -> AsyncIterator[Place]:
        """See `Call.queue`."""
        self.sounding()
        async with self.desk.wait(wish) as place:
            yield place

    async def talk(self, agent: Agent, music: Sound | None) -> Parted:
        """See `Call.talk`."""
        self.sounding()
        if music is not None and not isinstance(music, Spoken):
            sounds.load(music)
        async with self._connection():
            return await self.desk.talk(agent, music)

    async def message(self, page: str, psid: str, message: Message) -> str:
        """See `Call.message` and `line.message`."""
        self.messages.append(Written(page, psid, message.kind, message.content))
        return f"m_{len(self.messages)}"

    async def call(
        self,
        page: str,
        psid: str,
        handler: str,
        *,
        ask_permission: bool,
        within_s: float | None,
        ring_s: float,
        key: str,
    ) -> str:
        """See `line.call`."""
        self.placed.append(Placed(page, psid, handler, ask_permission, within_s, ring_s, key))
        return f"placed_{len(self.placed)}"


def _length_s(sound: Sound) -> float:
    return len(sound.text) * SPOKEN_S if isinstance(sound, Spoken) else len(sounds.load(sound)) * TICK_S


def _name(sound: Sound) -> str | bytes:
    match sound:
        case Spoken(text=text):
            return text
        case bytes():
            return sound
        case _:
            return os.fspath(sound)


def _settle(mark: asyncio.Future[bool], *, played: bool) -> None:
    if not mark.done():
        mark.set_result(played)


def _at(rate: Rate, pcm48k: bytes) -> bytes:
    """Return 20 ms at a call's rate; every third sample will do for a test."""
    return pcm48k if rate == RATES[-1] else array("h", pcm48k)[::3].tobytes()
