"""What was sent and what came back, decoded: after the measurement, because it takes long."""

from collections.abc import Iterable

import numpy as np

from pageline.bench.media import speech
from pageline.bench.media.delay import Timed
from pageline.bench.media.far_end import FarEnd
from pageline.bench.media.wheel import Kept
from workers.media.opus import OpusDecoder


def came_back(far_end: FarEnd, kept: Kept) -> list[Timed]:
    """Return the sound of a call's packets as they came."""
    return _decoded((at_ns, far_end.payload_of(packet)) for at_ns, packet in kept)


def was_sent(far_end: FarEnd) -> list[Timed]:
    """Return the sound that the call sent since this was kept."""
    return _decoded((sent.at_ns, far_end.words[sent.payload_number]) for sent in far_end.sent or ())


def _decoded(packets: Iterable[tuple[int, bytes]]) -> list[Timed]:
    decoder = OpusDecoder(speech.RATE)
    return [
        Timed(at_ns, np.frombuffer(decoder.decode(payload), np.int16) / 32768) for at_ns, payload in packets if payload
    ]
