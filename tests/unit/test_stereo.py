"""Both sides of a call in one file: each on its own channel, in step, whatever the packets' lengths."""

import asyncio
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.test_recorder import RATE_HZ, TICK, dominant_hz
from workers.media.opus import OpusDecoder, encode_clip, packet_samples
from workers.media.stereo import StereoRecorder, side_by_side
from workers.media.tape import recorder

LEFT_HZ: Final = 440
RIGHT_HZ: Final = 1000
SECONDS: Final = 3


def tone(hz: int) -> bytes:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(SECONDS * RATE_HZ) / RATE_HZ)).astype(np.int16).tobytes()


def three_in_one(packets: tuple[bytes, ...]) -> list[bytes]:
    """Put three frames into each packet (RFC 6716 section 3.2.5), as who saves on headers sends them."""
    joined = []
    for at in range(0, len(packets), 3):
        three = packets[at : at + 3]
        sizes = b"".join(
            bytes((252 + (s & 3), (s - 252 - (s & 3)) >> 2)) if s > 251 else bytes((s,))
            for s in map(len, (p[1:] for p in three[:2]))
        )
        joined.append(bytes((three[0][0] | 3, 0x80 | 3)) + sizes + b"".join(p[1:] for p in three))
    return joined


LEFT: Final = encode_clip(tone(LEFT_HZ))
RIGHT: Final = encode_clip(tone(RIGHT_HZ))
LONG: Final = three_in_one(LEFT)


async def write(path: Path, left: list[bytes] | tuple[bytes, ...], *, paused: range = range(0)) -> None:
    """Record both tones at once, as fast as the disk takes them; the times are made up."""
    records = recorder(path, RATE_HZ, stereo=True)
    assert isinstance(records, StereoRecorder)
    await records.open()
    began_s = records._rows[0]._start_s
    ticks = packet_samples(left[0]) // TICK
    for tick, packet in enumerate(RIGHT):
        at_s = began_s + tick * 0.02 + 0.001
        if tick % ticks == 0 and tick not in paused:
            records.hear(1, tick * TICK, left[tick // ticks], at_s)
        records.say(2, tick * TICK, packet, at_s)
    await asyncio.wait([records._hand_over(began_s + SECONDS)])


def played(path: Path) -> NDArray[np.float64]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.layout.nb_channels == 2
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
    if frames[0].dtype == np.int16:
        return np.concatenate([frame.reshape(-1, 2) for frame in frames]).T / 32768
    return np.concatenate([frame if len(frame) == 2 else frame.reshape(-1, 2).T for frame in frames], axis=1)


@pytest.mark.parametrize("name", ["both.opus", "both.wav"])
@pytest.mark.parametrize("left", [LEFT, LONG], ids=["20 ms", "60 ms"])
async def test_each_side_is_on_its_channel(tmp_path: Path, name: str, left: tuple[bytes, ...] | list[bytes]) -> None:
    await write(tmp_path / name, left)
    sound = played(tmp_path / name)
    assert abs(sound.shape[1] - SECONDS * RATE_HZ) <= TICK
    for channel, hz, other_hz in ((sound[0], LEFT_HZ, RIGHT_HZ), (sound[1], RIGHT_HZ, LEFT_HZ)):
        middle = channel[RATE_HZ // 2 : RATE_HZ * 5 // 2]
        assert abs(dominant_hz(middle) - hz) <= 2
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        other = spectrum[round(other_hz * len(middle) / RATE_HZ)]
        assert other < spectrum.max() / 100, "nothing of the one side is heard on the other"


async def test_packets_of_20_ms_are_in_the_file_as_they_came(tmp_path: Path) -> None:
    await write(tmp_path / "both.ogg", LEFT)
    with av.open(str(tmp_path / "both.ogg")) as container:
        kept = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert kept == [side_by_side(left, right) for left, right in zip(LEFT, RIGHT, strict=True)]


@pytest.mark.parametrize("name", ["both.opus", "both.wav"])
async def test_who_pauses_leaves_silence_and_the_other_side_stays_in_step(tmp_path: Path, name: str) -> None:
    await write(tmp_path / name, LEFT, paused=range(50, 100))
    sound = played(tmp_path / name)
    assert abs(sound.shape[1] - SECONDS * RATE_HZ) <= TICK
    assert np.abs(sound[0, RATE_HZ * 11 // 10 : RATE_HZ * 19 // 10]).max() < 0.01
    assert abs(dominant_hz(sound[0, RATE_HZ * 21 // 10 :]) - LEFT_HZ) <= 3
    assert abs(dominant_hz(sound[1, RATE_HZ * 11 // 10 : RATE_HZ * 19 // 10]) - RIGHT_HZ) <= 3


@given(st.binary(min_size=1, max_size=1275), st.binary(min_size=1, max_size=1275))
def test_the_first_of_two_packets_is_found_by_its_length(left: bytes, right: bytes) -> None:
    """Read as RFC 6716 appendix B and section 3.2.1 say."""
    both = side_by_side(left, right)
    assert both[0] == left[0]
    size, at = (both[1], 2) if both[1] < 252 else (both[1] + 4 * both[2], 3)
    assert (both[at : at + size], both[at + size :]) == (left[1:], right)


def test_three_in_one_is_what_it_says() -> None:
    assert {packet_samples(packet) for packet in LONG} == {3 * TICK}
    assert len(OpusDecoder().decode(LONG[3])) == 3 * TICK * 2
