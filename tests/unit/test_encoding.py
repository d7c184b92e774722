"""How a call's sound is encoded: as the peer asks, as what it loses demands, and as the worker can afford."""

import ctypes
import gc
from collections.abc import Mapping
from functools import cache
from itertools import cycle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.handling import RATES, Frame, Rate
from tests.unit.test_lossy_path import voice
from workers.media.encoding import ADAPT_EVERY_FRAMES, BITRATE, CHEAPEST, COMPLEXITIES, LOWEST_BITRATE, SpeechEncoder
from workers.media.opus import DTX_BYTES, OpusDecoder, OpusEncoder, carries_previous
from workers.media.session import RtpSession

SECOND = 50
BANDS = {8_000: 4_000, 12_000: 6_000, 16_000: 8_000, 24_000: 12_000, 48_000: 20_000}
"""What the peer plays, Hz, and up to where sound is left for it (RFC 6716 section 2)."""


@cache
def frames(rate: Rate = 16_000) -> tuple[Frame, ...]:
    """Return two seconds that a voice detector takes for speech."""
    pcm = np.frombuffer(voice(2), np.int16)
    pcm = np.repeat(pcm, rate // 16_000)
    size = rate // 50
    return tuple(Frame(pcm[at : at + size].tobytes(), rate) for at in range(0, len(pcm), size))


@cache
def hiss(rate: int, seconds: float = 1) -> tuple[bytes, ...]:
    """Return noise of all frequencies, which shows what is left of each."""
    pcm = np.random.default_rng(1).normal(0, 3_000, int(rate * seconds)).astype(np.int16).tobytes()
    size = rate // 50 * 2
    return tuple(pcm[at : at + size] for at in range(0, len(pcm), size))


def bandwidth(packet: bytes) -> str:
    """Read a packet's audio bandwidth (RFC 6716, table 2)."""
    configuration = packet[0] >> 3
    if configuration < 12:
        return ("narrow", "medium", "wide")[configuration // 4]
    if configuration < 16:
        return ("super-wide", "full")[(configuration - 12) // 2]
    return ("narrow", "wide", "super-wide", "full")[(configuration - 16) // 4]


def session(wishes: Mapping[str, int] | None = None) -> RtpSession:
    talking = RtpSession()
    talking.wishes = wishes or {}
    return talking


def spoken(speech: SpeechEncoder, count: int = 2 * SECOND, rate: Rate = 16_000) -> list[bytes]:
    sound = cycle(frames(rate))
    return [packet for packet in (speech.encode(next(sound)) for _ in range(count)) if packet is not None]


def bits_per_second(packets: list[bytes]) -> float:
    return sum(map(len, packets)) * 8 * SECOND / len(packets)


# --- as the peer asks ---


@pytest.mark.parametrize(
    ("asked", "given"), [(None, BITRATE), (16_000, 16_000), (510_000, BITRATE), (6_000, LOWEST_BITRATE), (0, 12_000)]
)
def test_no_more_bits_are_sent_than_the_peer_asks_for_but_enough_for_fec(asked: int | None, given: int) -> None:
    packets = spoken(SpeechEncoder(session({} if asked is None else {"maxaveragebitrate": asked})))
    assert 0.6 * given < bits_per_second(packets[10:]) < 1.15 * given


@pytest.mark.parametrize(("wished", "carried"), [(None, True), (1, True), (0, False)])
def test_packets_carry_the_one_before_unless_the_peer_says_no(wished: int | None, carried: bool) -> None:
    packets = spoken(SpeechEncoder(session({} if wished is None else {"useinbandfec": wished})))
    assert (sum(map(carries_previous, packets)) > len(packets) / 2) is carried
    assert carried or not any(map(carries_previous, packets))


@pytest.mark.parametrize("rate", RATES)
def test_speech_is_made_for_what_the_peer_plays(rate: Rate) -> None:
    narrow, wide = (SpeechEncoder(session({"maxplaybackrate": hz})) for hz in (8_000, 16_000))
    assert {bandwidth(packet) for packet in spoken(narrow, rate=rate)} == {"narrow"}
    assert "wide" in {bandwidth(packet) for packet in spoken(wide, rate=rate)}


def test_terms_that_change_while_the_call_runs_are_followed() -> None:
    talking = session()
    speech = SpeechEncoder(talking)
    assert bits_per_second(spoken(speech)) > 0.6 * BITRATE
    talking.wishes = {"maxplaybackrate": 8_000, "useinbandfec": 0}
    packets = spoken(speech)
    assert {bandwidth(packet) for packet in packets} == {"narrow"}
    assert not any(map(carries_previous, packets))


def test_a_handler_may_change_the_rate_of_its_frames() -> None:
    speech, decoder = SpeechEncoder(session()), OpusDecoder()
    for rate in (*RATES, *RATES):
        for packet in spoken(speech, 5, rate):
            assert len(decoder.decode(packet)) == 1920


@settings(deadline=None, max_examples=40)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.integers(0, 999_999) for name in ("maxaveragebitrate", "maxplaybackrate", "useinbandfec", "usedtx")
        },
    )
)
def test_whatever_the_peer_asks_for_speech_is_encoded(wishes: dict[str, int]) -> None:
    assert all(len(packet) > DTX_BYTES for packet in spoken(SpeechEncoder(session(wishes)), 3))


# --- as what it loses demands ---


def test_the_loss_prepared_for_rises_with_a_report_and_sinks_slowly_after_it() -> None:
    talking = session()
    speech = SpeechEncoder(talking)
    expected = []
    for reported in (None, 0.0, 0.2, 0.0, 0.05, 0.3, *[0.0] * 20):
        talking._reports.peer.fraction_lost = reported
        spoken(speech, ADAPT_EVERY_FRAMES)
        expected.append(speech._expected_loss)
    assert expected[:6] == pytest.approx([0, 0, 0.2, 0.16, 0.128, 0.3])
    assert expected[6:] == pytest.approx([0.3 * 0.8**second for second in range(1, 21)])


@pytest.mark.parametrize(("reported", "percent"), [(None, 10), (0.02, 10), (0.15, 15), (0.3, 30), (0.9, 30), (1.0, 30)])
def test_the_encoder_is_told_of_the_loss_within_what_it_can_use(reported: float | None, percent: int) -> None:
    talking = session()
    talking._reports.peer.fraction_lost = reported
    speech = SpeechEncoder(talking)
    packets = spoken(speech)
    assert told(speech, 4015) == percent, "OPUS_GET_PACKET_LOSS_PERC"
    assert sum(map(carries_previous, packets)) > SECOND, "FEC is there whatever is lost"


def test_an_encoder_made_anew_is_told_at_once_what_the_one_before_knew() -> None:
    talking = session()
    talking._reports.peer.fraction_lost = 0.25
    speech = SpeechEncoder(talking)
    spoken(speech, 7)
    spoken(speech, 1, 48_000)
    assert told(speech, 4015) == 25


# --- as the worker can afford ---


def told(speech: SpeechEncoder, request: int) -> int:
    assert speech._encoder is not None
    return option(speech._encoder, request)


def option(encoder: OpusEncoder, request: int) -> int:
    """Ask libopus for an option (OPUS_GET_...)."""
    value = ctypes.c_int()
    assert encoder._library.opus_encoder_ctl(encoder._state, request, ctypes.byref(value)) == 0
    return value.value


def test_the_more_calls_are_encoded_the_less_is_spent_on_each_until_they_are_gone() -> None:
    gc.collect()
    first = SpeechEncoder(session())
    others: list[SpeechEncoder] = []

    def spent(calls: int) -> int:
        del others[calls - 1 :]
        others.extend(SpeechEncoder(session()) for _ in range(calls - 1 - len(others)))
        assert len(SpeechEncoder._all) == calls
        spoken(first, ADAPT_EVERY_FRAMES)
        return told(first, 4011)  # OPUS_GET_COMPLEXITY

    (few, dear), (many, fair) = COMPLEXITIES
    counts = (1, few, few + 1, many, many + 1, 3 * many, many, few, 1)
    assert [spent(calls) for calls in counts] == [dear, dear, fair, fair, CHEAPEST, CHEAPEST, fair, dear, dear]
