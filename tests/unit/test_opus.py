"""Options of our encoder, as they show in what is decoded."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.test_encoding import BANDS, bandwidth, hiss, option
from workers.media.opus import DTX_BYTES, FRAME_MS, OpusDecoder, OpusEncoder

PLAYED_AT = (0, 7_999, 8_000, 8_001, 12_000, 16_000, 24_000, 44_100, 48_000, 999_999)


def decoded(packets: list[bytes]) -> NDArray[np.float64]:
    decoder = OpusDecoder()
    return np.frombuffer(b"".join(map(decoder.decode, packets)), np.int16).astype(np.float64)


@pytest.mark.parametrize(("playback_rate", "up_to_hz"), BANDS.items())
def test_nothing_is_encoded_that_the_far_side_does_not_play(playback_rate: int, up_to_hz: int) -> None:
    encoder = OpusEncoder(48_000, bitrate=64_000, playback_rate=playback_rate)
    sound = decoded([encoder.encode(pcm) for pcm in hiss(48_000)])
    power, hz = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2, np.fft.rfftfreq(len(sound), 1 / 48_000)
    inside, outside = power[(hz > 500) & (hz < up_to_hz * 0.9)].mean(), power[hz > up_to_hz * 1.1].mean()
    assert inside > 1000 * outside


@pytest.mark.parametrize("playback_rate", PLAYED_AT)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_any_playback_rate_leaves_the_narrowest_band_that_holds_it(playback_rate: int, rate: int) -> None:
    encoder = OpusEncoder(rate, bitrate=64_000, playback_rate=playback_rate)
    names = ("narrow", "medium", "wide", "super-wide", "full")
    most = next((place for place, hz in enumerate(BANDS) if playback_rate <= hz), 4)
    bands = {names.index(bandwidth(encoder.encode(pcm))) for pcm in hiss(rate)}
    assert max(bands) <= most
    assert option(encoder, 4005) - 1101 == most, "OPUS_GET_MAX_BANDWIDTH"


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("hum", [0.0, 2.0], ids=["digital silence", "a quiet room"])
def test_of_a_long_pause_a_packet_every_400_ms_is_left(rate: int, hum: float) -> None:
    noise = np.random.default_rng(1).normal(0, hum, rate * 6).astype(np.int16).tobytes()
    size = rate // 50 * 2
    encoder = OpusEncoder(rate, dtx=True)
    lengths = [len(encoder.encode(noise[at : at + size])) for at in range(0, len(noise), size)]
    left = [place for place, length in enumerate(lengths) if length > DTX_BYTES]
    assert left[:5] == [0, 1, 2, 3, 4], "it has to be a pause first"
    later = [place for place in left if place >= 50]
    assert {(after - before) * FRAME_MS for before, after in pairwise(later)} <= {400, 420}
    assert 10 <= len(later) <= 13


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_without_dtx_there_is_a_whole_packet_of_every_frame_of_silence(rate: int) -> None:
    encoder = OpusEncoder(rate, bitrate=12_000)
    assert min(len(encoder.encode(bytes(rate // 25))) for _ in range(200)) > DTX_BYTES


def test_complexity_can_be_changed_while_the_encoder_runs_and_nobody_hears_it() -> None:
    encoder, packets = OpusEncoder(16_000, complexity=0), []
    for place, pcm in enumerate(hiss(16_000)):
        encoder.spend(place % 11)
        assert option(encoder, 4011) == place % 11
        packets.append(encoder.encode(pcm))
    sound = decoded(packets).reshape(-1, 960)[3:]
    levels = np.sqrt((sound**2).mean(axis=1))
    assert levels.min() > levels.mean() / 2
