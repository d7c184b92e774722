"""What a bad path leaves of the sound, on virtual time: our encoder, the path of tests/path.py, our playout."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import groupby

import numpy as np
import pytest

from tests.path import CALM, Line, Weather
from tests.unit.test_playout import HZ, Sent, dominant_hz, listen, longest_quiet_ms, samples, stream, tone
from tests.unit.test_playout import voice as voice_with_pauses
from workers.media.account import is_quiet
from workers.media.opus import CLIP_RATE, OpusDecoder, OpusEncoder, carries_previous, encode_clip
from workers.media.playout import Playout

RATE = 16_000
WARM_UP_BYTES = CLIP_RATE * 2
AIMS = {5: 1.0, 10: 3.5, 20: 8.0}
"""Per cent of the packets lost, and of the speech missing at most."""


@cache
def voice(seconds: float) -> bytes:
    """Return something that a voice detector takes for speech without a pause."""
    at = np.arange(int(seconds * RATE)) / RATE
    pitch = 130 + 20 * np.sin(2 * np.pi * 0.7 * at)
    loudness = (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at)) * 4000
    sound = np.add.reduce([np.sin(2 * np.pi * k * pitch * at) / k for k in range(1, 12)]) * loudness
    return (sound + np.random.default_rng(1).normal(0, 15, len(at))).astype(np.int16).tobytes()


@cache
def speech(seconds: float, loss_percent: int, *, fec: bool = True) -> tuple[bytes, ...]:
    """Return that voice, packed by our encoder after the peer reported such a loss."""
    pcm = voice(seconds)
    encoder = OpusEncoder(RATE, fec=fec, expected_loss_percent=loss_percent)
    return tuple(encoder.encode(pcm[at : at + 640]) for at in range(0, len(pcm), 640))


TONE = encode_clip(tone(12))


def over(line: Line, sent: Iterable[Sent]) -> list[Sent]:
    """Return what arrives over a path, and when."""
    return [replace(packet, arrives_s=at_s) for packet in sent for at_s in line.arrivals(packet.arrives_s)]


def purity_db(pcm: bytes) -> float:
    """Return how far the tone stands above everything else that is heard."""
    sound = samples(pcm)
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(sound), 1 / CLIP_RATE) - HZ) < 30
    return float(10 * np.log10(power[near].sum() / power[~near].sum()))


def steepest(pcm: bytes) -> float:
    return float(np.abs(np.diff(samples(pcm))).max())


@pytest.mark.parametrize(("loss_percent", "aim"), AIMS.items())
@pytest.mark.parametrize("jitter_ms", [0, 20])
def test_little_speech_is_missing_although_much_is_lost(loss_percent: int, aim: float, jitter_ms: float) -> None:
    packets, lost, concealed_ms, played_ms = speech(12, loss_percent), 0, 0.0, 0.0
    for seed in range(4):
        line = Line(Weather(loss=loss_percent / 100, delay_ms=20, jitter_ms=jitter_ms), seed=seed)
        playout = Playout(RATE)
        listen(playout, over(line, stream(packets)), 12, rate=RATE)
        lost += line.lost
        concealed_ms += playout.concealed_ms
        played_ms += playout.played_ms
        assert playout.delay_ms is not None
        assert playout.delay_ms <= 60
    assert lost / (4 * len(packets)) == pytest.approx(loss_percent / 100, rel=0.1)
    assert concealed_ms / played_ms * 100 <= aim


@pytest.mark.meta("8-concealed")
@pytest.mark.parametrize(("loss_percent", "aim"), AIMS.items())
def test_what_is_made_up_in_a_pause_is_told_from_missing_speech_and_never_too_much_of_it(
    loss_percent: int, aim: float
) -> None:
    """The voice pauses a quarter of the time, in packets that are sent: what is lost of them has no FEC."""
    packets = voice_with_pauses(24)
    decoder = OpusDecoder(RATE)
    spoken = [not is_quiet(decoder.decode(packet)) for packet in packets]
    missing_ms = silent_ms = gone_ms = 0.0
    for seed in range(4):
        line = Line(Weather(loss=loss_percent / 100, delay_ms=20), seed=seed)
        arrivals = over(line, stream(packets))
        playout = Playout(RATE)
        listen(playout, arrivals, 24, rate=RATE)
        missing_ms += playout.concealed_ms - playout.silent_concealed_ms
        silent_ms += playout.silent_concealed_ms
        here = {packet.sequence for packet in arrivals}
        gone_ms += 20 * sum(
            spoken[lost] and not (lost + 1 in here and carries_previous(packets[lost + 1]))
            for lost in set(range(len(packets) - 1)) - here
        )
    assert silent_ms > 4 * 24_000 * 0.2 * loss_percent / 100
    assert gone_ms <= missing_ms <= gone_ms * 1.2 + 4 * 40, "the first loss teaches it to wait for FEC"
    assert missing_ms / (4 * 20 * sum(spoken)) * 100 <= aim


def test_there_is_fec_for_the_first_loss_that_nobody_has_reported_yet() -> None:
    line, playout = Line(Weather(loss=0.05, delay_ms=20)), Playout(RATE)
    listen(playout, over(line, stream(speech(12, 0))), 12, rate=RATE)
    assert playout.recovered_ms > playout.concealed_ms * 3


def test_without_fec_what_is_lost_is_missing() -> None:
    line, playout = Line(Weather(loss=0.1, delay_ms=20)), Playout(RATE)
    listen(playout, over(line, stream(speech(12, 10, fec=False))), 12, rate=RATE)
    assert playout.concealed_ms == pytest.approx(line.lost * 20, abs=40)


@pytest.mark.parametrize("burst", [1, 3])
def test_lost_sound_leaves_neither_a_gap_nor_a_click(burst: float) -> None:
    playout = Playout()
    heard = listen(playout, over(Line(Weather(loss=0.1, burst=burst)), stream(TONE)), 12)[WARM_UP_BYTES:-9600]
    clean = listen(Playout(), stream(TONE), 12)[WARM_UP_BYTES:-9600]
    assert playout.concealed_ms > 600
    assert longest_quiet_ms(heard) <= 40, "a hole of three packets is 60 ms long"
    assert steepest(heard) < steepest(clean) * 2
    assert abs(dominant_hz(heard) - HZ) < 1


def test_doubles_and_overtaking_are_not_heard() -> None:
    weather = Weather(delay_ms=20, overtaken=0.1, held_back_ms=30, doubled=0.3)
    playout = Playout()
    heard = listen(playout, over(Line(weather), stream(TONE)), 12)[WARM_UP_BYTES:-9600]
    clean = listen(Playout(), stream(TONE), 12)[WARM_UP_BYTES:-9600]
    assert playout.concealed_ms <= 20, "the first that was overtaken teaches it to wait"
    assert playout.trimmed_ms == 0
    assert purity_db(heard) > purity_db(clean) - 1


def test_the_delay_is_short_again_some_seconds_after_a_storm() -> None:
    line, arrivals = Line(Weather(loss=0.1, burst=2, delay_ms=30, jitter_ms=120)), []
    for number, packet in enumerate(stream(encode_clip(tone(16)))):
        if number == 300:
            line.weather = CALM
        arrivals += over(line, [packet])
    playout = Playout()
    listen(playout, [packet for packet in arrivals if packet.arrives_s < 6], 6)
    stormy_ms = playout.target_ms
    heard = listen(playout, [packet for packet in arrivals if packet.arrives_s >= 6], 9.9, start_s=6)
    assert stormy_ms > 80
    assert playout.target_ms <= 40.1, "a packet, and one more for the loss that was seen"
    assert playout.depth_ms <= 60
    assert longest_quiet_ms(heard[WARM_UP_BYTES:]) < 15, "what was too much is left out unheard"


def test_pauses_of_a_sender_that_says_nothing_in_silence_are_no_loss_on_a_bad_path() -> None:
    """DTX: no packet is sent for 400 of every 1600 ms, the sequence goes on without a hole, the timestamp has one."""
    packets, sent = speech(16, 10), []
    for number, packet in enumerate(stream(packets)):
        if number % 80 < 60:
            sent.append(replace(packet, sequence=len(sent)))
    playout = Playout(RATE)
    line = Line(Weather(loss=0.1, delay_ms=20, jitter_ms=20))
    listen(playout, over(line, sent), 16, rate=RATE)
    assert playout.concealed_ms / playout.played_ms * 100 <= AIMS[10]
    assert playout.silent_ms == pytest.approx(4_000 - 400, rel=0.2), "ten pauses, less the last that does not end"


# --- the path itself ---


def fates(line: Line, count: int) -> list[tuple[float, ...]]:
    return [line.arrivals(number * 0.02) for number in range(count)]


def test_the_same_seed_makes_the_same_path() -> None:
    weather = Weather(loss=0.1, burst=2, delay_ms=20, jitter_ms=30, overtaken=0.1, doubled=0.1)
    assert fates(Line(weather, seed=7), 500) == fates(Line(weather, seed=7), 500)
    assert fates(Line(weather, seed=7), 500) != fates(Line(weather, seed=8), 500)


@pytest.mark.parametrize("burst", [1, 3])
def test_as_much_is_lost_as_was_asked_for_and_in_such_bursts(burst: float) -> None:
    arrived = fates(Line(Weather(loss=0.1, burst=burst)), 20_000)
    runs = [len(list(run)) for lost, run in groupby(arrived, key=lambda copies: not copies) if lost]
    assert arrived.count(()) / 20_000 == pytest.approx(0.1, rel=0.1)
    assert sum(runs) / len(runs) == pytest.approx(burst, rel=0.15)


def test_jitter_keeps_the_order_and_only_overtaking_breaks_it() -> None:
    def order(weather: Weather) -> list[float]:
        return [copies[0] for copies in fates(Line(weather), 1_000)]

    jittery, overtaken = order(Weather(jitter_ms=100)), order(Weather(overtaken=0.1))
    assert jittery == sorted(jittery)
    assert overtaken != sorted(overtaken)
    assert [len(copies) for copies in fates(Line(Weather(doubled=0.5)), 1_000)].count(2) == pytest.approx(500, abs=60)
