"""Recordings, undecoded and decoded: whatever became of the packets, a file of the right length that players play."""

import asyncio
import io
import os
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.handling import Frame
from workers.media.ogg import OggOpus
from workers.media.opus import encode_clip
from workers.media.recorder import MOST_WAITING, OggRecorder, WavRecorder
from workers.media.tape import recorder
from workers.media.unbroken import SILENCE, WINDOW_PACKETS, Arrived, Unbroken

RATE_HZ, TICK = 48_000, 960
HZ = 440
START_S = 1000.0
SSRC = 7


def tone(seconds: float) -> bytes:
    return (8000 * np.sin(2 * np.pi * HZ * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16).tobytes()


PACKETS = encode_clip(tone(4))


def arrived(tick: int, payload: bytes, *, origin: int = 0, ssrc: int = SSRC, delay_s: float = 0.0) -> Arrived:
    """Send a packet so many 20 ms after the start; it is on its way for 1 ms and the delay."""
    return Arrived(ssrc, (origin + tick * TICK) & 0xFFFFFFFF, payload, START_S + tick * 0.02 + 0.001 + delay_s)


def row_of(packets: Iterable[Arrived], ended_s: float) -> list[bytes]:
    row = Unbroken(START_S)
    return [packet for each in packets for packet in row.add(each)] + row.finish(START_S + ended_s)


def file_of(row: Sequence[bytes]) -> bytes:
    ogg = OggOpus(0xFEEDF00D)
    return ogg.begin() + ogg.add(row) + ogg.end()


def played(file: bytes | Path, codec: str = "opus") -> NDArray[np.float64]:
    """Decode a file, from 1 to -1; FFmpeg leaves out pages whose checksum is wrong."""
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else str(file)) as container:
        stream = container.streams.audio[0]
        decoder = av.CodecContext.create(codec, "r")
        decoder.extradata, decoder.sample_rate, decoder.layout = stream.codec_context.extradata, RATE_HZ, "mono"
        frames = [frame for packet in container.demux(stream) if packet.size for frame in decoder.decode(packet)]
    pieces = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate([np.zeros(0), *(piece / (32768 if piece.dtype == np.int16 else 1) for piece in pieces)])


def dominant_hz(sound: NDArray[np.float64]) -> float:
    assert np.abs(sound).max() > 0.03, "silence has no pitch"
    return float(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))) * RATE_HZ / len(sound))


def pages(file: bytes) -> list[tuple[int, int, int, list[int], bytes]]:
    """Take a file to pieces: flags, position, number, segments and content of each page."""
    found, at = [], 0
    while at < len(file):
        capture, version, flags, position, serial, number, crc, segments = struct.unpack_from("<4sBBqLLLB", file, at)
        assert (capture, version, serial) == (b"OggS", 0, 0xFEEDF00D)
        lengths = list(file[at + 27 : at + 27 + segments])
        end = at + 27 + segments + sum(lengths)
        assert crc == long_division(file[at : at + 22] + bytes(4) + file[at + 26 : end])
        found.append((flags, position, number, lengths, file[at + 27 + segments : end]))
        at = end
    return found


def long_division(page: bytes) -> int:
    """Reckon the remainder bit by bit, as RFC 3533 defines it."""
    rest = 0
    for byte in page:
        rest ^= byte << 24
        for _ in range(8):
            rest = (rest << 1 ^ 0x104C11DB7) if rest & 0x80000000 else rest << 1
    return rest


@st.composite
def journeys(draw: st.DrawFn) -> tuple[list[Arrived], set[int], int]:
    """Packets as they come: some lost, some twice, some late; also which came, and how long the call was, in ticks."""
    sent = draw(st.integers(1, 150))
    origin = draw(st.sampled_from([0, 0xFFFFFFFF - 40 * TICK, 0x7FFFFFFF - 9 * TICK]))
    lost = draw(st.sets(st.integers(1, sent)))
    paused = draw(st.sets(st.integers(1, sent // 10 + 1)))  # tens of ticks for which nothing is sent
    came = {tick for tick in range(sent) if tick not in lost and (tick == 0 or tick // 10 not in paused)}
    chance = draw(st.randoms(use_true_random=False))
    copies = []
    for tick in came:
        for _ in range(chance.choice([1, 1, 2])):
            late = chance.choice([0, 0, 0, 1, 2]) if tick else 0
            copies.append((tick + late, arrived(tick, PACKETS[tick], origin=origin, delay_s=late * 0.02)))
    copies.sort(key=lambda copy: copy[0])
    return [copy for _, copy in copies], came, sent + draw(st.integers(3, 60))


@given(journeys())
@settings(deadline=None)  # a file is decoded for each
def test_whatever_is_lost_late_or_twice_each_packet_is_in_its_place_and_the_file_has_the_calls_length(
    journey: tuple[list[Arrived], set[int], int],
) -> None:
    packets, came, ticks = journey
    row = row_of(packets, ticks * 0.02 + 0.001)
    assert row == [PACKETS[tick] if tick in came else SILENCE[TICK] for tick in range(ticks)]
    assert abs(len(played(file_of(row))) - ticks * TICK) <= TICK


@given(st.lists(st.sampled_from([3, 60, 254, 255, 256, 510, 1275]), min_size=1, max_size=200))
@example([1275] * 60)
@settings(deadline=None)  # the other way to reckon a checksum is slow
def test_pages_are_whole_numbered_and_checked_and_say_where_they_end(lengths: list[int]) -> None:
    packets = [b"\xf8".ljust(length, b"\0") for length in lengths]
    head, tags, *sounds = pages(file_of(packets))
    assert head[:3] == (2, 0, 0)
    assert head[4] == b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0"
    assert tags[:3] == (0, 0, 1)
    assert tags[4] == b"OpusTags\x08\0\0\0pageline\0\0\0\0"
    assert [page[2] for page in sounds] == list(range(2, len(sounds) + 2))
    assert [page[0] for page in sounds] == [0] * (len(sounds) - 1) + [4]
    kept, before = 0, 0
    for _, position, _, segments, content in sounds:
        whole = sum(length < 255 for length in segments)
        assert segments[-1] < 255, "a packet that goes on would be lost with the next page"
        assert b"".join(packets[kept : kept + whole]) == content
        kept += whole
        assert position == kept * TICK
        assert 0 < position - before <= RATE_HZ
        before = position
    assert kept == len(packets)


@pytest.mark.parametrize("codec", ["opus", "libopus"])
def test_a_tone_with_holes_is_the_same_tone_for_either_decoder(codec: str) -> None:
    row = row_of((arrived(tick, PACKETS[tick]) for tick in range(200) if tick % 20), 4.001)
    sound = played(file_of(row), codec)
    assert len(sound) == 200 * TICK
    assert abs(dominant_hz(sound) - HZ) <= 2
    assert np.abs(sound).max() < 0.4, "no hole makes a noise"


@pytest.mark.parametrize("codec", ["opus", "libopus"])
@pytest.mark.parametrize("samples", SILENCE)
def test_silence_lasts_as_long_as_it_says_and_is_silent(samples: int, codec: str) -> None:
    sound = played(file_of([SILENCE[samples]] * 40), codec)
    assert len(sound) == 40 * samples
    assert not sound.any()


def test_a_file_that_was_cut_off_is_played_to_its_last_whole_page() -> None:
    ogg = OggOpus(1)
    written = ogg.begin() + ogg.add(PACKETS)  # and no end
    assert len(played(written)) == 150 * TICK
    assert len(played(written[:-100])) == 100 * TICK


def test_a_call_without_a_sound_is_a_file_of_silence() -> None:
    assert len(played(file_of(row_of([], 3.0)))) == 3 * RATE_HZ
    assert len(pages(file_of([]))) == 3


def test_a_packet_later_than_the_window_is_left_out_and_delays_nothing() -> None:
    late = 20
    order = [tick for tick in range(60) if tick != late]
    order.insert(late + WINDOW_PACKETS + 1, late)
    row = row_of((arrived(tick, PACKETS[tick]) for tick in order), 1.2)
    assert row == [PACKETS[tick] if tick != late else SILENCE[TICK] for tick in range(60)]


def test_a_first_packet_that_is_overtaken_moves_nothing() -> None:
    packets = [arrived(tick, PACKETS[tick], delay_s=0.0 if tick else 0.05) for tick in range(50)]
    assert row_of([*packets[1:4], packets[0], *packets[4:]], 1.001) == list(PACKETS[:50])


def test_another_stream_goes_on_where_the_clock_is() -> None:
    first = [arrived(tick, PACKETS[tick]) for tick in range(50)]
    second = [arrived(tick, PACKETS[tick], origin=12345, ssrc=8) for tick in range(75, 100)]
    assert row_of(first + second, 2.001) == [*PACKETS[:50], *[SILENCE[TICK]] * 25, *PACKETS[75:100]]


@pytest.mark.parametrize("jump", [3 * RATE_HZ, 0x70000000, -3 * RATE_HZ, -0x70000000])
def test_timestamps_that_jump_change_nothing_about_the_length(jump: int) -> None:
    before = [arrived(tick, PACKETS[tick]) for tick in range(50)]
    after = [arrived(tick, PACKETS[tick], origin=jump) for tick in range(50, 150)]
    row = row_of(before + after, 3.001)
    assert len(row) == 150
    assert row[-70:] == list(PACKETS[80:150]), "half a second may be left out"


def test_a_single_absurd_timestamp_costs_no_more_than_its_packet() -> None:
    packets = [arrived(tick, PACKETS[tick], origin=0x60000000 if tick == 30 else 0) for tick in range(100)]
    row = row_of(packets, 2.001)
    assert row[:100] == [PACKETS[tick] if tick != 30 else SILENCE[TICK] for tick in range(100)]
    assert len(row) <= 101


def test_timestamps_that_stand_still_for_long_are_not_believed() -> None:
    before = [arrived(tick, PACKETS[tick]) for tick in range(50)]
    after = [arrived(tick, PACKETS[tick - 1000], origin=-1000 * TICK) for tick in range(1050, 1100)]
    assert len(row_of(before + after, 22.001)) == 1100


def test_timestamps_off_by_a_few_samples_do_not_add_up() -> None:
    packets = [Arrived(SSRC, tick * TICK + tick * 37 % 50, PACKETS[tick], START_S + tick * 0.02) for tick in range(200)]
    assert row_of(packets, 4.001) == list(PACKETS)


def test_frames_shorter_than_20_ms_are_filled_up_to_the_sample() -> None:
    payload = SILENCE[120]
    packets = [Arrived(SSRC, at * 120, payload, START_S + at / 400) for at in range(400) if not 100 <= at < 115]
    row = row_of(packets, 1.001)
    filled = [SILENCE[960], SILENCE[480], SILENCE[240], SILENCE[120]]
    assert row == [*[payload] * 100, *filled, *[payload] * 285]


def test_what_is_no_opus_packet_is_not_recorded() -> None:
    assert row_of([arrived(0, PACKETS[0]), arrived(1, b""), arrived(2, b"\x03")], 0.061) == [
        PACKETS[0],
        *[SILENCE[TICK]] * 2,
    ]


async def test_half_a_recording_is_on_the_disk_before_it_ends(tmp_path: Path) -> None:
    ogg, wav = OggRecorder(tmp_path / "in" / "a.opus"), WavRecorder(tmp_path / "in" / "a.wav", RATE_HZ)
    for each in (ogg, wav):
        await each.open()
        assert each.path.stat().st_mode & 0o777 == 0o600
        assert each.path.parent.stat().st_mode & 0o777 == 0o700
    origin_s = ogg._row._start_s
    pcm = tone(4)
    for tick in range(200):
        ogg.hear(SSRC, tick * TICK, PACKETS[tick], origin_s + tick * 0.02)
        wav.take(Frame(pcm[tick * 1920 : tick * 1920 + 1920]), tick * 0.02)
    await OggRecorder(tmp_path / "in" / "b.opus").open()  # one thread writes all, so that the others have come so far
    assert len(played(ogg.path)) == 150 * TICK
    assert len(played(wav.path, "pcm_s16le")) >= 3 * RATE_HZ
    for each in (ogg, wav):
        await each.close()
    assert len(played(ogg.path)) == 200 * TICK
    assert wav.path.read_bytes()[44:] == pcm
    assert len(played(wav.path, "pcm_s16le")) == 200 * TICK


@pytest.mark.parametrize("full", [OggRecorder(Path("/dev/full")), WavRecorder(Path("/dev/full"), RATE_HZ)])
async def test_a_full_disk_ends_a_recording_with_one_line_and_nothing_else(full: OggRecorder | WavRecorder) -> None:
    with structlog.testing.capture_logs() as logs:
        await full.open()
        for tick in range(200):
            if isinstance(full, OggRecorder):
                full.hear(SSRC, tick * TICK, PACKETS[tick], tick * 0.02)
            else:
                full.take(Frame(bytes(1920)), tick * 0.02)
        await full.close()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("recording.failed", "error")]
    assert "No space left" in logs[0]["because"]


@pytest.mark.parametrize("name", ["a.opus", "a.wav"])
async def test_a_disk_that_hangs_fills_no_memory_and_loses_nothing_that_waited_for_it(
    name: str, tmp_path: Path
) -> None:
    hanging, writes = tmp_path / "hanging.opus", recorder(tmp_path / name, RATE_HZ)
    await writes.open()
    os.mkfifo(hanging)  # to open it is to wait for somebody who reads
    stuck = asyncio.create_task(recorder(hanging, RATE_HZ).open())
    await asyncio.sleep(0)
    begun_s = time.monotonic()
    try:
        with structlog.testing.capture_logs() as logs:
            for tick in range(100 * MOST_WAITING):
                at_s = begun_s + tick * 0.02
                if isinstance(writes, OggRecorder):
                    writes.hear(SSRC, tick * TICK, PACKETS[tick % 200], at_s)
                else:
                    writes.take(Frame(tone(0.02)), at_s)
            assert writes._waiting == MOST_WAITING + 1
            assert writes._chunk == []
            async with asyncio.timeout(2):  # for nothing: it was given up
                await writes.close()
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [("recording.failed", "error")]
        assert f"the disk hangs: {MOST_WAITING} s wait" in logs[0]["because"]
    finally:
        reader = os.open(hanging, os.O_RDONLY | os.O_NONBLOCK)
    await stuck
    os.close(reader)
    await OggRecorder(tmp_path / "b.opus").open()  # after all that waited
    sound = played(writes.path, "opus" if name == "a.opus" else "pcm_s16le")
    assert abs(len(sound) / RATE_HZ - MOST_WAITING - 1) < 1


def test_the_path_says_how_a_call_is_recorded() -> None:
    assert isinstance(recorder(Path("a.opus"), RATE_HZ), OggRecorder)
    assert isinstance(recorder(Path("a.OGG"), RATE_HZ), OggRecorder)
    assert isinstance(recorder(Path("a.wav"), RATE_HZ), WavRecorder)
    with pytest.raises(ValueError, match=r"a\.mp3: a recording ends in \.opus"):
        recorder(Path("a.mp3"), RATE_HZ)
