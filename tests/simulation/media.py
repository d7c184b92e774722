"""Legs without sockets: what a worker sends is heard by the consumer that Meta connected it with."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.meta import Meta, MetaCall
from tests.simulation.virtual_loop import Process, VirtualLoop, current
from workers.media.leg import Leg, LegFailed
from workers.media.session import LegFigures
from workers.media.video import Video

SILENCE_LIMIT_S = 15.0
CONSUMER_SPEAKS_EVERY_S = 1.0
FRAME = bytes(1920)


@dataclass
class Air:
    """Where media travels, and how often it fails to."""

    loop: VirtualLoop
    meta: Meta
    chance: random.Random
    no_offer: float = 0.0
    no_connection: float = 0.0
    answer_refused: float = 0.0
    goodbye_lost: float = 0.0
    legs: list["SimLeg"] = field(default_factory=list)
    on_packet: "Callable[[SimLeg], None]" = lambda leg: None

    def leg(self) -> "SimLeg":
        """Make a leg for the process that asks."""
        leg = SimLeg(self, len(self.legs) + 1)
        self.legs.append(leg)
        return leg


class SimLeg(Leg):
    """See `Leg`; `call` is Meta's once it is connected."""

    def __init__(self, air: Air, number: int) -> None:
        self.on_ended = None
        self.process: Process = current()
        self.call: MetaCall | None = None
        self.too_late = 0
        """Packets that were sent after standing still while somebody else was given the call."""
        self._air = air
        self._offer = f"offer {number}"
        self._onward: Leg | None = None
        self.video_track = "video"
        self.muted = False
        self.video = Video(self)
        self._sent = 0
        self._connected = self._ended = self._left = False

    # -- negotiation -------------------------------------------------------------------------------------------------

    async def offer(self) -> str:
        """See `Leg.offer`."""
        await asyncio.sleep(self._air.chance.uniform(0.001, 0.05))
        if self._air.chance.random() < self._air.no_offer:
            raise LegFailed("the offer could not be made: simulated")
        return self._offer

    async def apply(self, answer: str, renegotiation: str | None) -> None:
        """See `Leg.apply`."""
        await asyncio.sleep(self._air.chance.uniform(0.001, 0.02))
        if self._left:
            raise LegFailed("the answer was refused: the leg is closed")
        if answer != f"answer to {self._offer}" or self._air.chance.random() < self._air.answer_refused:
            raise LegFailed("the answer was refused: simulated")

    async def renegotiate(self, offer: str) -> str:
        """See `Leg.renegotiate`."""
        await asyncio.sleep(0.001)  # virtual seconds
        return f"answer to {offer}"

    def offer_again(self) -> str:
        """See `Leg.offer_again`."""
        return f"{self._offer} again"

    async def take_answer_again(self, answer: str) -> None:
        """See `Leg.take_answer_again`."""
        await asyncio.sleep(0.001)  # virtual seconds
        if answer != f"answer to {self._offer} again":
            raise LegFailed("the answer to our change was refused")

    @property
    def audio_track(self) -> str:
        """See `Leg.audio_track`."""
        return "audio"

    async def connected(self, timeout_s: float = 10.0) -> None:
        """See `Leg.connected`."""
        await asyncio.sleep(self._air.chance.uniform(0.05, 0.5))
        if not self._left and self._air.chance.random() >= self._air.no_connection:
            self.call = self._air.meta.connects(self._offer)
        if self.call is None:
            await asyncio.sleep(timeout_s)
            raise LegFailed(f"no media connection within {timeout_s:g} s")
        self._connected = True
        self.call.on_gone.append(self._consumer_left)
        self._listen()

    # -- life --------------------------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """See `Leg.live`."""
        return self._connected and not self._ended and not self._left

    def _consumer_left(self) -> None:
        """Hear that the consumer's device closed: at once, or only by its silence."""
        lost = self._air.chance.random() < self._air.goodbye_lost
        delay_s = SILENCE_LIMIT_S if lost else self._air.chance.uniform(0.01, 0.3)
        self._air.loop.call_later(delay_s, self._end, context=self.process.context)

    def _end(self) -> None:
        was_live, self._ended = self.live, True
        if was_live and self.on_ended is not None:
            self.on_ended("the peer closed")

    def mute_forever(self) -> None:
        """See `Leg.mute_forever`."""
        self._left = True

    async def close(self) -> None:
        """See `Leg.close`."""
        self._left = True
        await asyncio.sleep(0.001)  # virtual seconds

    def _listen(self) -> None:
        """Take a packet of the consumer's, and expect the next."""
        if self.live:
            if self._onward is not None:
                self._onward.send_packet(b"")
            self._air.loop.call_later(CONSUMER_SPEAKS_EVERY_S, self._listen, context=self.process.context)

    # -- media -------------------------------------------------------------------------------------------------------

    def send_packet(self, payload: bytes, *, samples: int = 960, comfort: bool = False) -> bool:
        """See `Leg.send_packet`."""
        if not self.live or self.call is None or not self.may_speak():
            return False
        self._sent += 1
        self._air.on_packet(self)
        self.call.heard_s = self._air.loop.time()
        return True

    @property
    def packets_sent(self) -> int:
        """See `Leg.packets_sent`."""
        return self._sent

    def hear(self, wanted: bool = True) -> None:
        """See `Leg.hear`."""

    def pull(self, rate: int = 48_000) -> bytes | None:
        """See `Leg.pull`."""
        return FRAME if rate == 48_000 else FRAME[:640]

    def figures(self) -> LegFigures:
        """See `Leg.figures`."""
        return LegFigures(self._sent, 0, self._sent, None, None, 0.0, 0.0, None, None)
