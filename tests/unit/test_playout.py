"""The jitter buffer against real Opus on a simulated clock: every packet, loss and delay is decided by the test."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.media.delay import HIGHEST_MS
from workers.media.opus import CLIP_RATE, OpusEncoder, carries_previous, encode_clip, packet_samples
from workers.media.playout import MAX_DEPTH_MS, Playout
from workers.media.shorten import leave_out_a_period

TICK_S = 0.02
HZ = 440


def tone(seconds: float, rate: int = CLIP_RATE) -> bytes:
    return (8000 * np.sin(2 * np.pi * HZ * np.arange(int(seconds * rate)) / rate)).astype(np.int16).tobytes()


def voice(seconds: float) -> tuple[bytes, ...]:
    """Return something that a voice detector takes for speech, packed by an encoder that expects loss."""
    at = np.arange(int(seconds * 16_000)) / 16_000
    pitch = 130 + 20 * np.sin(2 * np.pi * 0.7 * at)
    loudness = (at % 1.6 < 1.2) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at)) * 4000
    sound = np.add.reduce([np.sin(2 * np.pi * k * pitch * at) / k for k in range(1, 12)]) * loudness
    pcm = (sound + np.random.default_rng(1).normal(0, 15, len(at))).astype(np.int16).tobytes()
    encoder = OpusEncoder(16_000, expected_loss_percent=20)
    return tuple(encoder.encode(pcm[at : at + 640]) for at in range(0, len(pcm), 640))


def samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, np.int16).astype(np.float64)


def dominant_hz(pcm: bytes, rate: int = CLIP_RATE) -> float:
    sound = samples(pcm)
    return float(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))) * rate / len(sound))


def longest_quiet_ms(pcm: bytes, rate: int = CLIP_RATE) -> float:
    """Return the longest stretch whose loudness stays under a tenth of the tone's."""
    window = rate // 200
    sound = samples(pcm)
    quiet = [np.abs(sound[at : at + window]).max() < 800 for at in range(0, len(sound) - window, window)]
    longest = run = 0
    for is_quiet in quiet:
        run = run + 1 if is_quiet else 0
        longest = max(longest, run)
    return longest * 5.0


@dataclass
class Sent:
    arrives_s: float
    sequence: int
    timestamp: int
    payload: bytes


def stream(packets: Iterable[bytes], *, first: int = 0, timestamp: int = 0, start_s: float = 0.005) -> list[Sent]:
    """Return packets as they arrive over a perfect path."""
    sent, media = [], 0
    for number, payload in enumerate(packets):
        sent.append(
            Sent(start_s + media / 48_000, (first + number) & 0xFFFF, (timestamp + media) & 0xFFFFFFFF, payload)
        )
        media += packet_samples(payload)
    return sent


def listen(
    playout: Playout, arrivals: list[Sent], seconds: float, *, rate: int = CLIP_RATE, start_s: float = 0.0
) -> bytes:
    """Push what arrives and pull once per tick; return everything heard."""
    waiting = sorted(arrivals, key=lambda packet: packet.arrives_s)
    heard = bytearray()
    for tick in range(round(seconds / TICK_S)):
        now_s = start_s + tick * TICK_S
        while waiting and waiting[0].arrives_s <= now_s:
            packet = waiting.pop(0)
            playout.push(packet.sequence, packet.timestamp, packet.payload, packet.arrives_s)
        pcm = playout.pull(now_s, rate)
        if pcm is not None:
            assert len(pcm) == rate // 50 * 2
            heard += pcm
    return bytes(heard)


CLIP = encode_clip(tone(5))


def test_there_is_nothing_to_hear_before_the_first_packet() -> None:
    assert Playout().pull(1.0) is None


def test_a_perfect_path_is_played_whole_and_with_a_short_delay() -> None:
    playout = Playout()
    heard = listen(playout, stream(CLIP), 5)
    assert abs(dominant_hz(heard[-96_000:]) - HZ) < 1
    assert playout.concealed_ms == playout.silent_ms == 0
    assert playout.trimmed_ms < 20, "what was held back before the path was known"
    assert playout.delay_ms is not None
    assert playout.delay_ms <= 25
    assert playout.played_ms == pytest.approx(5000, abs=60)


def test_timestamps_a_few_samples_early_or_late_are_heard_as_if_they_were_exact() -> None:
    """GStreamer rounds them from a clock."""
    packets = stream(CLIP, timestamp=1000)
    chance = random.Random(1)
    for packet in packets:
        packet.timestamp += chance.randint(-40, 40)
    playout = Playout()
    heard = listen(playout, packets, 5)
    assert abs(dominant_hz(heard[-96_000:]) - HZ) < 1
    assert longest_quiet_ms(heard[9600:]) < 10
    assert playout.concealed_ms == playout.silent_ms == 0
    for packet in packets:
        packet.arrives_s = max(packet.arrives_s, 0.3)  # a stall, after which the delay has to shrink all the same
    playout = Playout()
    listen(playout, packets, 5)
    assert playout.trimmed_ms > 150


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_rate_can_be_chosen(rate: int) -> None:
    heard = listen(Playout(), stream(CLIP), 3, rate=rate)
    assert abs(dominant_hz(heard[-2 * rate :], rate) - HZ) < 1


def test_a_lost_packet_is_concealed_for_its_20_ms_and_delays_nothing() -> None:
    playout = Playout()
    heard = listen(playout, [p for p in stream(CLIP) if p.sequence not in {50, 100, 150}], 5)
    assert playout.concealed_ms + playout.recovered_ms == 60
    assert longest_quiet_ms(heard[9600:]) < 10
    assert playout.delay_ms is not None
    assert playout.delay_ms <= 45


def test_fec_brings_back_what_was_lost() -> None:
    packets = voice(5)
    chance = random.Random(1)
    lost = {n for n in range(20, len(packets) - 20) if chance.random() < 0.1}
    assert sum(map(carries_previous, packets)) > len(packets) * 0.6, "all but the pauses"
    playout = Playout(16_000)
    listen(playout, [p for p in stream(packets) if p.sequence not in lost], 5, rate=16_000)
    in_the_next = sum(carries_previous(packets[n + 1]) for n in lost if n + 1 not in lost)
    assert in_the_next * 20 >= playout.recovered_ms >= (in_the_next - 2) * 20 > 150, "all but what taught it to wait"
    assert 0 <= playout.concealed_ms + playout.recovered_ms - len(lost) * 20 <= 40


def test_without_fec_it_is_concealed() -> None:
    pcm = tone(2, 16_000)
    encoder = OpusEncoder(16_000, fec=False)
    packets = [encoder.encode(pcm[at : at + 640]) for at in range(0, len(pcm), 640)]
    playout = Playout(16_000)
    listen(playout, [p for p in stream(packets) if p.sequence % 10], 2, rate=16_000)
    assert playout.recovered_ms == 0
    assert playout.concealed_ms == pytest.approx(180, abs=20)


def test_reordered_packets_are_no_loss() -> None:
    arrivals = stream(CLIP)
    for one, other in zip(arrivals[10::7], arrivals[11::7], strict=False):
        one.arrives_s, other.arrives_s = other.arrives_s, one.arrives_s
    playout = Playout()
    listen(playout, arrivals, 5)
    assert playout.concealed_ms <= 20  # one may be met before the buffer has learned


def test_numbers_that_wrap_are_no_loss() -> None:
    playout = Playout()
    listen(playout, stream(CLIP, first=0xFFFF - 100, timestamp=0xFFFFFFFF - 100 * 960), 5)
    assert playout.concealed_ms == playout.silent_ms == 0
    assert playout.played_ms == pytest.approx(5000, abs=60)


def test_a_stall_is_played_late_and_the_delay_it_leaves_shrinks_again() -> None:
    arrivals = stream(encode_clip(tone(15)))
    for packet in arrivals[100:115]:
        packet.arrives_s = max(packet.arrives_s, arrivals[114].arrives_s)
    playout = Playout()
    before = listen(playout, arrivals[:118], 2.4)
    deep_ms = playout.depth_ms
    after = listen(playout, arrivals[118:], 12, start_s=2.4)
    assert deep_ms > 200
    assert playout.depth_ms <= 80
    assert playout.trimmed_ms > 100
    assert playout.late_packets == 0
    assert longest_quiet_ms(after[:-9600]) < 10, "shortening is not heard as a gap"
    assert abs(dominant_hz(before + after) - HZ) < 2


def test_a_backlog_is_cut_at_once_to_what_jitter_demands() -> None:
    arrivals = stream(encode_clip(tone(15)))
    for packet in arrivals[50:95]:
        packet.arrives_s = arrivals[94].arrives_s
    playout = Playout()
    listen(playout, arrivals[:110], 2.2)
    assert playout.depth_ms <= HIGHEST_MS
    assert playout.trimmed_ms > 500
    listen(playout, arrivals[110:], 12.5, start_s=2.2)
    assert playout.depth_ms <= 80


def test_a_buffer_nobody_reads_stays_small_and_is_fresh_when_somebody_does() -> None:
    playout = Playout()
    for packet in stream(encode_clip(tone(3))):
        playout.push(packet.sequence, packet.timestamp, packet.payload, packet.arrives_s)
    assert playout.pull(3.0) is not None
    assert playout.depth_ms <= MAX_DEPTH_MS


def test_jitter_raises_the_target_and_calm_lowers_it() -> None:
    arrivals = stream(encode_clip(tone(20)))
    chance = random.Random(7)
    for packet in arrivals[:500]:
        packet.arrives_s += chance.uniform(0, 0.08)
    playout = Playout()
    listen(playout, arrivals[:505], 10)
    rough_ms, concealed_ms = playout.target_ms, playout.concealed_ms
    listen(playout, arrivals[505:], 9, start_s=10.1)
    assert 60 < rough_ms <= 120
    assert concealed_ms < 300, "of ten seconds, most of it while the buffer learned"
    assert playout.target_ms <= 40.1, "a packet, and one more while late ones count as lost"
    assert playout.depth_ms <= 60


def test_a_calm_path_is_played_with_a_packets_delay_and_a_lossy_one_with_one_more() -> None:
    arrivals = stream(encode_clip(tone(30)))
    playout = Playout()
    listen(playout, arrivals[:200], 4)
    calm_ms = playout.target_ms
    listen(playout, [packet for packet in arrivals[200:400] if packet.sequence % 10], 4, start_s=4)
    lossy_ms = playout.target_ms
    listen(playout, arrivals[400:], 22, start_s=8)
    assert (calm_ms, lossy_ms, playout.target_ms) == (pytest.approx(20), pytest.approx(40), pytest.approx(20))


def test_a_packet_that_was_waited_for_in_vain_makes_the_next_one_be_waited_for() -> None:
    """No FEC helps here, and something is always here: only what comes too late tells that more should wait."""
    arrivals = stream(CLIP)
    for number in range(50, 250, 5):
        arrivals[number].arrives_s += 0.045
    playout = Playout()
    listen(playout, arrivals, 5)
    assert playout.late_packets <= 8, "of forty"
    assert playout.concealed_ms <= 200
    assert 40 < playout.target_ms <= 90


def test_a_pause_of_the_sender_is_silence_and_no_concealment() -> None:
    first = stream(CLIP[:100])
    second = stream(CLIP[100:200], first=100, timestamp=(100 + 75) * 960, start_s=3.505)
    playout = Playout()
    heard = listen(playout, first + second, 5.4)
    assert playout.concealed_ms == 0
    assert playout.silent_ms == pytest.approx(1500, abs=60)
    assert abs(dominant_hz(heard[-96_000:]) - HZ) < 1


def test_packets_lost_around_a_pause_are_counted_as_such() -> None:
    first = stream(CLIP[:100])
    second = stream(CLIP[100:200], first=103, timestamp=(100 + 75) * 960, start_s=3.505)
    playout = Playout()
    listen(playout, first + second, 5.4)
    assert playout.concealed_ms == 60


@pytest.mark.parametrize(
    "came",
    [range(100, 105), (104, 101, 103, 100, 102), (100, 104), (100, 102, 104, 104)],
    ids=["all", "reordered", "few", "some"],
)
def test_a_digit_in_the_place_of_sound_is_no_concealment(came: Iterable[int]) -> None:
    playout = Playout()
    for number in came:
        playout.pass_over(number, 100 * 960)
    later = stream(CLIP[100:200], first=105, timestamp=105 * 960, start_s=2.105)
    listen(playout, stream(CLIP[:100]) + later, 4)
    assert playout.concealed_ms == 0
    assert playout.silent_ms == 100


def test_of_a_digit_whose_end_is_lost_only_as_much_is_concealed() -> None:
    playout = Playout()
    for number in range(100, 104):
        playout.pass_over(number, 100 * 960)
    later = stream(CLIP[100:200], first=105, timestamp=105 * 960, start_s=2.105)
    listen(playout, stream(CLIP[:100]) + later, 4)
    assert playout.concealed_ms + playout.recovered_ms == 20
    assert playout.silent_ms == 80


def test_a_key_held_for_seconds_is_no_concealment() -> None:
    playout = Playout()
    for number in range(100, 400):
        playout.pass_over(number, 100 * 960)
    later = stream(CLIP[100:200], first=400, timestamp=400 * 960, start_s=8.005)
    listen(playout, stream(CLIP[:100]) + later, 10)
    assert playout.concealed_ms == 0


def test_a_sender_that_restarts_its_timestamps_is_heard_again() -> None:
    first = stream(CLIP[:100], timestamp=10_000_000)
    second = stream(CLIP[100:], first=100, timestamp=5_000, start_s=2.005)
    playout = Playout()
    heard = listen(playout, first + second, 5)
    assert abs(dominant_hz(heard[-96_000:]) - HZ) < 1
    assert playout.late_packets < 10


def test_another_stream_takes_over_after_a_restart_without_a_gap_in_the_ticks() -> None:
    playout = Playout()
    listen(playout, stream(CLIP[:50], timestamp=77), 1)
    playout.restart()
    assert playout.pull(1.0) is not None
    heard = listen(playout, stream(CLIP[50:], first=9, timestamp=3_000_000_000, start_s=1.005), 3.9, start_s=1.02)
    assert abs(dominant_hz(heard[-96_000:]) - HZ) < 1


def test_packets_of_60_ms_are_played_whole() -> None:
    packed = []
    for one, two, three in zip(CLIP[::3], CLIP[1::3], CLIP[2::3], strict=False):
        packed.append(bytes([one[0] | 3, 0x80 | 3, len(one) - 1, len(two) - 1]) + one[1:] + two[1:] + three[1:])
    packed = [p for p in packed if all(len(frame) < 252 for frame in CLIP)]
    playout = Playout()
    heard = listen(playout, stream(packed), 4.5)
    assert packet_samples(packed[0]) == 2880
    assert playout.concealed_ms <= 60
    assert abs(dominant_hz(heard[-96_000:]) - HZ) < 1


@pytest.mark.parametrize("drift", [0.998, 1.002])
def test_a_sender_with_another_clock_neither_starves_nor_fills_the_buffer(drift: float) -> None:
    arrivals = stream(encode_clip(tone(5)) * 12)
    for packet in arrivals:
        packet.arrives_s *= drift
    playout = Playout()
    heard = listen(playout, arrivals, 59)
    assert playout.depth_ms <= 100
    assert playout.late_packets == 0
    assert longest_quiet_ms(heard[9600:]) < 15


def test_a_damaged_packet_after_a_loss_is_concealed_like_the_loss() -> None:
    arrivals = stream(voice(2))
    playout = Playout(16_000)
    damaged = next(n for n in range(40, 90) if carries_previous(arrivals[n].payload))
    arrivals[damaged].payload = arrivals[damaged].payload[:2] + bytes(1400)
    listen(playout, [packet for packet in arrivals if packet.sequence != damaged - 1], 2, rate=16_000)
    assert playout.concealed_ms >= 20


def test_damaged_packets_are_concealed() -> None:
    arrivals = stream(CLIP)
    arrivals[60].payload = b"\xff\xff\xff\xff"  # code 3 with more frames than there are bytes
    arrivals[61].payload = b""
    playout = Playout()
    listen(playout, arrivals, 5)
    assert 20 <= playout.concealed_ms + playout.recovered_ms <= 60


def test_a_short_gap_is_heard_and_a_long_one_fades_to_silence() -> None:
    short, long = stream(CLIP), stream(CLIP)
    del short[60:65]
    del long[60:90]
    for arrivals, concealed_ms, silent_ms in ((short, 100, 0), (long, 600, 400)):
        playout = Playout()
        listen(playout, arrivals, 5)
        assert playout.concealed_ms + playout.recovered_ms == concealed_ms
        assert playout.silent_concealed_ms == pytest.approx(silent_ms, abs=20)


def test_what_is_lost_after_a_packet_of_silence_was_silent() -> None:
    arrivals = stream(CLIP)
    arrivals[60].payload = arrivals[60].payload[:1]  # the table of contents alone: DTX
    del arrivals[61:64]
    playout = Playout()
    listen(playout, arrivals, 5)
    assert playout.silent_concealed_ms == playout.concealed_ms > 0


def test_leaving_out_a_period_of_a_tone_makes_no_click() -> None:
    pcm = tone(0.04)
    shorter = leave_out_a_period(pcm, CLIP_RATE)
    assert 0.01 <= (len(pcm) - len(shorter)) / 2 / CLIP_RATE <= 0.02
    steepest = max(abs(b - a) for a, b in pairwise(samples(pcm)))
    assert max(abs(b - a) for a, b in pairwise(samples(shorter))) < steepest * 1.5


@settings(max_examples=40, deadline=None)
@given(st.integers(min_value=0), st.floats(0, 0.6), st.floats(0, 0.4))
def test_every_tick_is_20_ms_and_accounted_for_whatever_the_path_does(seed: int, loss: float, jitter_s: float) -> None:
    chance = random.Random(seed)
    arrivals = [p for p in stream(CLIP, first=65_500, timestamp=2**32 - 9600) if chance.random() > loss]
    for packet in arrivals:
        packet.arrives_s += chance.uniform(0, jitter_s)
    playout = Playout()
    heard = listen(playout, arrivals, 5.5)
    assert len(heard) / 96 == playout.played_ms
    assert playout.concealed_ms + playout.recovered_ms + playout.silent_ms <= playout.played_ms + 60
    assert playout.depth_ms <= MAX_DEPTH_MS + 60
