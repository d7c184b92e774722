"""What we take for granted of libopus, inside PyAV's wheel or the system's: run this before PyAV is bumped.

Each test says what to do when it fails.
"""

import ctypes
import ctypes.util

import pytest

from tests.unit.test_lossy_path import RATE, voice
from tests.unit.test_playout import voice as with_pauses
from workers.media import opus
from workers.media.opus import OpusDecoder, OpusEncoder, carries_previous, packet_samples

SYSTEMS = ctypes.util.find_library("opus")
IN_THE_WHEEL = [path for path in opus._candidates() if path != SYSTEMS]


def encoded(library: ctypes.CDLL, seconds: float = 2.0, *, rate: int = RATE, **options: int) -> list[bytes]:
    """Return a voice as a library packs it."""
    pcm, encoder = voice(seconds), OpusEncoder(rate, library=library, **options)
    size = rate // 50 * 2
    return [encoder.encode(pcm[at : at + size]) for at in range(0, len(pcm) - size + 1, size)]


def test_the_library_in_the_wheel_comes_first_and_is_the_one_in_use() -> None:
    """If not: PyAV has moved its libraries; teach `_candidates` the new place. Until then the system's is used."""
    assert IN_THE_WHEEL
    assert next(opus._candidates()) == IN_THE_WHEEL[0]
    assert opus._library._name == IN_THE_WHEEL[0]


@pytest.mark.skipif(SYSTEMS is None, reason="this system has no libopus (apt-get install libopus0)")
def test_the_systems_library_does_as_well() -> None:
    """If not: a wheel without libopus would leave no way; say so where the remedy is named in `_load`."""
    assert SYSTEMS is not None
    library = opus._load(ctypes.PyDLL, [SYSTEMS])
    assert library._name == SYSTEMS
    decoder = OpusDecoder(RATE)
    assert all(len(decoder.decode(packet)) == 640 for packet in encoded(library))


def test_a_library_that_is_absent_or_another_one_is_passed_over() -> None:
    """If not: `_load` must try every candidate before it gives up."""
    libc = ctypes.util.find_library("c")
    assert libc is not None
    assert opus._load(ctypes.PyDLL, ["/nowhere/libopus.so", libc, IN_THE_WHEEL[0]])._name == IN_THE_WHEEL[0]
    with pytest.raises(OSError, match="apt-get install libopus0"):
        opus._load(ctypes.PyDLL, ["/nowhere/libopus.so", libc])


@pytest.mark.parametrize("expected_loss_percent", [0, 5, 10, 20, 30])
def test_speech_carries_the_frame_before_it_whatever_loss_was_reported(expected_loss_percent: int) -> None:
    """If not: look for the least expected loss at which this libopus adds FEC, and set LEAST_LOSS_PERCENT to it."""
    packets = encoded(opus._library, expected_loss_percent=expected_loss_percent)
    assert sum(map(carries_previous, packets)) > len(packets) / 2, "none at all if the threshold has moved"


def test_a_packet_is_20_ms_and_made_up_sound_fades_to_the_noise_of_the_last_pause() -> None:
    """If not: `Playout` counts on the first; its listeners on the second, before PLC_LIMIT makes it silence."""
    packets, decoder = with_pauses(3), OpusDecoder(RATE)
    assert {packet_samples(packet) for packet in packets} == {960}
    for packet in packets[:130]:
        decoder.decode(packet)
    made_up = [max(map(abs, memoryview(decoder.conceal()).cast("h"))) for _ in range(50)]
    assert made_up[0] > 1_000
    assert max(made_up[10:]) < 100
