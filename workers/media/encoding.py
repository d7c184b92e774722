"""How a call's sound is encoded: as its peer asks, as what it loses demands, and as dearly as the worker can afford."""

from collections.abc import Mapping
from typing import ClassVar, Final, Protocol
from weakref import WeakSet

from shared.handling import Frame
from workers.media.opus import DTX_BYTES, OpusEncoder

BITRATE: Final = 24_000
LOWEST_BITRATE: Final = 12_000
"""Below this in-band FEC has no room; a peer that asks for less gets this all the same."""
ADAPT_EVERY_FRAMES: Final = 50
FORGET: Final = 0.8
"""Loss comes in bursts: what was reported counts for some seconds, a fifth less each."""

COMPLEXITIES: Final = ((20, 5), (40, 3))
CHEAPEST: Final = 1
"""So many calls of a worker may be encoded with so much trouble: 5 takes twice the time of 1 and sounds a little better
(log-spectral distance to voiced speech at 20 kbit/s: 4.9 against 5.3 dB)."""


class Hearer(Protocol):
    """Whom sound is encoded for; the session of a call is one."""

    @property
    def wishes(self) -> Mapping[str, int]: ...
    @property
    def dtx(self) -> bool: ...
    @property
    def loss_at_peer(self) -> float | None: ...


class SpeechEncoder:
    """Encodes the frames of one call, whatever their rate."""

    _all: ClassVar["WeakSet[SpeechEncoder]"] = WeakSet()

    def __init__(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._wishes = hearer.wishes
        self._encoder: OpusEncoder | None = None
        self._expected_loss = 0.0
        self._frames = 0
        self._all.add(self)

    def encode(self, frame: Frame) -> bytes | None:
        """Return the packet of a frame, None where it is of a pause and may be left out."""
        encoder = self._encoder
        if encoder is None or encoder.rate != frame.rate or self._wishes != self._hearer.wishes:
            encoder = self._encoder = self._make(frame.rate)
            self._frames = 0
        if self._frames % ADAPT_EVERY_FRAMES == 0:
            self._adapt(encoder)
        self._frames += 1
        packet = encoder.encode(frame.pcm)
        return None if len(packet) <= DTX_BYTES else packet

    def _make(self, rate: int) -> OpusEncoder:
        wishes = self._wishes = self._hearer.wishes
        return OpusEncoder(
            rate,
            bitrate=max(LOWEST_BITRATE, min(BITRATE, wishes.get("maxaveragebitrate", BITRATE))),
            fec=wishes.get("useinbandfec", 1) != 0,
            dtx=self._hearer.dtx,
            playback_rate=wishes.get("maxplaybackrate", 48_000),
        )

    def _adapt(self, encoder: OpusEncoder) -> None:
        self._expected_loss = max(self._hearer.loss_at_peer or 0.0, self._expected_loss * FORGET)
        encoder.expect_loss(self._expected_loss * 100)
        calls = len(self._all)
        encoder.spend(next((complexity for most, complexity in COMPLEXITIES if calls <= most), CHEAPEST))
