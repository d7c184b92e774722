"""Mixes what the calls in a room say: each hears the sum of all others (mix-minus), in the round in which it was said.

A round has two halves, as in rounds.py: all say, then all are told. What is silent is not added, who would be told
silence is told nothing, and those who only listen share an encoder where their peers want the same.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.handling import Frame, Rate, Room
from workers.media.encoding import SpeechEncoder
from workers.media.session import RtpSession

LOUDEST: Final = np.iinfo(np.int16)
ENDING_FRAMES: Final = 3
"""So many frames of silence end a sound. The far side makes something up where nothing comes: after none or one of them
it goes on with the last word at up to half of its loudness, after three it is silent."""


class Mixer:
    """The sound of one room; `worker` is whose calls meet in it."""

    def __init__(self, rate: Rate, worker: object) -> None:
        self.rate: Final[Rate] = rate
        self.worker: Final = worker
        self.silence: Final = bytes(rate // 50 * 2)
        self._participants: set[Participant] = set()
        self._said: dict[Participant, bytes] = {}
        self._told = False
        """Somebody was: what is said next begins another round."""
        self._sum: NDArray[np.int32] | None = None
        self._heard_by_the_silent: bytes | None = None
        self._encoders: dict[tuple[object, ...], SpeechEncoder] = {}
        """Those of who only listen, by what their peers want."""
        self._packets: dict[tuple[object, ...], bytes | None] = {}

    def enter(self, participant: "Participant") -> None:
        """Let one hear and be heard from the next round on."""
        self._participants.add(participant)

    def leave(self, participant: "Participant") -> None:
        """Go on without one; nothing where it has left already."""
        self._participants.discard(participant)
        self._said.pop(participant, None)
        if all(not other.listen_only for other in self._participants):
            self._encoders.clear()

    @property
    def crowded(self) -> bool:
        """Whether anybody in here is not alone."""
        return len(self._participants) > 1

    def worst_loss(self) -> float:
        """Return the largest share of our packets that one who only listens lost lately."""
        return max(other.leg.loss_at_peer or 0.0 for other in self._participants if other.listen_only)

    def take(self, participant: "Participant", pcm: bytes | None) -> None:
        """Take what one says in this round; None or zeros if nothing."""
        if self._told:
            self._told, self._sum, self._heard_by_the_silent = False, None, None
            self._said.clear()
            self._packets.clear()
        if pcm is None or pcm == self.silence:
            self._said.pop(participant, None)
        else:
            self._said[participant] = pcm

    def mixed_for(self, participant: "Participant") -> bytes | None:
        """Return what all others say in this round, None if they are silent."""
        self._told = True
        own = self._said.get(participant)
        others = len(self._said) - (own is not None)
        if others == 0:
            return None
        if others == 1:
            return next(pcm for other, pcm in self._said.items() if other is not participant)
        if self._sum is None:
            self._sum = np.zeros(len(self.silence) // 2, np.int32)
            for pcm in self._said.values():
                self._sum += np.frombuffer(pcm, np.int16)
        if own is not None:
            return _saturated(self._sum - np.frombuffer(own, np.int16))
        if self._heard_by_the_silent is None:
            self._heard_by_the_silent = _saturated(self._sum.copy())
        return self._heard_by_the_silent

    def encode_for_listener(self, leg: RtpSession, frame: Frame) -> bytes | None:
        """Return the packet of what who only listens hears in this round, encoded once where peers want the same."""
        alike = (leg.dtx, *sorted(leg.wishes.items()))
        if alike not in self._encoders:
            self._encoders[alike] = SpeechEncoder(Audience(self, leg.wishes, dtx=leg.dtx))
        if alike not in self._packets:
            self._packets[alike] = self._encoders[alike].encode(frame)
        return self._packets[alike]


class Participant:
    """A call in a room: what it says there, and what it is told."""

    def __init__(self, mixer: Mixer, leg: RtpSession, *, listen_only: bool = False) -> None:
        self.mixer: Final = mixer
        self.leg: Final = leg
        self.listen_only: Final = listen_only
        self._encoder: SpeechEncoder | None = None
        self._ending = 0

    @property
    def heard(self) -> bool:
        """Whether anybody hears what it says."""
        return not self.listen_only and self.mixer.crowded

    def say(self, pcm: bytes | None) -> None:
        """Say this in this round, if anybody hears it; to be called in every round."""
        self.mixer.take(self, pcm if self.heard else None)

    def tell(self) -> None:
        """Send what the others say, and nothing where they are silent, once the sound has come to an end."""
        pcm = self.mixer.mixed_for(self)
        if pcm is not None:
            self._ending = ENDING_FRAMES
        elif self._ending:
            self._ending -= 1
        else:
            return
        packet = self._encode(Frame(pcm or self.mixer.silence, self.mixer.rate))
        if packet is None:
            self.leg.leave_out()
        else:
            self.leg.send_packet(packet)

    def _encode(self, frame: Frame) -> bytes | None:
        if self.listen_only:
            return self.mixer.encode_for_listener(self.leg, frame)
        if self._encoder is None:
            self._encoder = SpeechEncoder(self.leg)
        return self._encoder.encode(frame)


class Audience:
    """Those who only listen and whose peers want the same, as one to encode for: the worst of their paths counts."""

    def __init__(self, mixer: Mixer, wishes: Mapping[str, int], *, dtx: bool) -> None:
        self.wishes: Final = wishes
        self.dtx: Final = dtx
        self._mixer = mixer

    @property
    def loss_at_peer(self) -> float:
        """Share of our packets that one of them lost lately."""
        return self._mixer.worst_loss()


def _saturated(mixed: NDArray[np.int32]) -> bytes:
    np.minimum(mixed, LOUDEST.max, out=mixed)
    np.maximum(mixed, LOUDEST.min, out=mixed)
    return mixed.astype(np.int16).tobytes()


def mixer_of(room: Room, worker: object) -> Mixer:
    """Return where the calls of a room are mixed.

    Raises:
        TypeError: those are calls of another worker.
    """
    if room.mixer is None:
        room.mixer = Mixer(room.rate, worker)
    if not isinstance(room.mixer, Mixer) or room.mixer.worker is not worker:
        raise TypeError("this room is of another media worker; let the calls meet in one, with MEDIA_PROCESSES=1")
    return room.mixer
