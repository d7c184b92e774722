"""A call is recorded from its packets, undecoded, whatever else is done with them."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
import structlog

from shared.handling import Frame
from tests.integration.test_leg import OURS, OURS_HZ, THEIRS, THEIRS_HZ, Far, call, ticks, until
from tests.unit.test_recorder import RATE_HZ, dominant_hz, played
from workers.media.host import Ear
from workers.media.live_call import LiveCall
from workers.media.tape import recorder

BUSY_S = 0.1
"""By so much a busy machine may be late with the last packets, or with the end."""


async def test_a_lossy_call_is_recorded_undecoded_and_in_real_time_while_a_voice_moves_to_another_stream(
    tmp_path: Path,
) -> None:
    chance = random.Random(5)
    async with call(Far()) as (leg, far):
        live = LiveCall(leg)
        began_s = time.monotonic()
        await live.tape.record(recorder(tmp_path / "a.opus", 48_000))
        async for tick in ticks(150):
            if chance.random() < 0.1:
                far.skip()
            elif tick < 75:
                await far.send(THEIRS[tick], tick)
            else:
                await far.send(THEIRS[tick % 75], tick + 9_000, ssrc=2)
            live.tick([])
        await until(lambda: leg.figures().packets_received > 120)
        await live.tape.stop()
        lasted_s = time.monotonic() - began_s
        assert not live.tape.runs
        assert leg.figures().played_ms == 0, "nothing was decoded"
        assert leg.on_sound is None
    sound = played(tmp_path / "a.opus")
    assert abs(len(sound) / RATE_HZ - lasted_s) <= BUSY_S
    assert abs(dominant_hz(sound) - THEIRS_HZ) <= 5
    assert abs(dominant_hz(sound[-RATE_HZ:]) - THEIRS_HZ) <= 5


async def test_a_bridged_call_is_recorded_undecoded_before_its_packets_are_passed_on(tmp_path: Path) -> None:
    async with call(Far()) as (one, far), call(Far()) as (other, _):
        caller, agent = LiveCall(one), LiveCall(other)
        await caller.tape.record(recorder(tmp_path / "caller.opus", 48_000))
        await agent.tape.record(recorder(tmp_path / "agent.opus", 48_000))
        bridge = asyncio.create_task(caller.bridge(agent))
        async for tick in ticks(75):
            await far.send(THEIRS[tick], tick)
            caller.tick([])
            agent.tick([])
        await until(lambda: one.figures().packets_received == 75)
        assert other.packets_sent > 70, "the first may come before the bridge"
        assert one.figures().played_ms == 0
        bridge.cancel()
        await caller.close()
        await agent.close()
    assert abs(dominant_hz(played(tmp_path / "caller.opus")) - THEIRS_HZ) <= 5
    assert not played(tmp_path / "agent.opus").any(), "the agent said nothing"


async def test_who_listens_to_a_recorded_call_hears_it_and_a_wav_file_holds_the_same(tmp_path: Path) -> None:
    for name, codec in (("a.opus", "opus"), ("a.wav", "pcm_s16le")):
        async with call(Far()) as (leg, far):
            live = LiveCall(leg)
            heard: list[tuple[Ear, Frame]] = []
            await live.tape.record(recorder(tmp_path / name, 48_000))
            live.add_ear(Ear(), 48_000)
            async for tick in ticks(60):
                await far.send(OURS[tick], tick)
                live.tick(heard)
            await live.close()
            assert len(heard) > 50
            assert leg.figures().played_ms > 1_000
        sound = played(tmp_path / name, codec)
        assert abs(len(sound) / RATE_HZ - 1.2) <= BUSY_S
        assert abs(dominant_hz(sound) - OURS_HZ) <= 5


async def test_a_wav_file_is_as_good_whoever_comes_to_listen_at_another_rate_and_leaves(tmp_path: Path) -> None:
    async with call(Far()) as (leg, far):
        live = LiveCall(leg)
        heard: list[tuple[Ear, Frame]] = []
        ear = Ear()
        await live.tape.record(recorder(tmp_path / "a.wav", live.rate))
        async for tick in ticks(90):
            await far.send(OURS[tick], tick)
            if tick == 20:
                live.add_ear(ear, 16_000)
                with pytest.raises(ValueError, match="already heard at 16000 Hz"):
                    live.add_ear(Ear(), 48_000)
            if tick == 60:
                live.remove_ear(ear)
                live.add_ear(ear, 48_000)
            live.tick(heard)
        await live.close()
    assert {frame.rate for _, frame in heard} == {16_000, 48_000}
    sound = played(tmp_path / "a.wav", "pcm_s16le")
    assert abs(len(sound) / RATE_HZ - 1.8) <= BUSY_S
    for part in (sound[:16_000], sound[24_000:56_000], sound[64_000:]):
        assert abs(dominant_hz(part) - OURS_HZ) <= 5


async def test_a_disk_that_hangs_keeps_no_call_open(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging.opus"
    os.mkfifo(hanging)  # to open it is to wait for somebody who reads
    async with call(Far()) as (leg, far):
        live = LiveCall(leg)
        writes, stuck = recorder(tmp_path / "a.opus", 48_000), recorder(hanging, 48_000)
        await live.tape.record(writes)
        writes.patience_s, stuck.patience_s = 2.0, 0.02
        notes = far.take_notes()
        async for tick in ticks(20):
            await far.send(THEIRS[tick], tick)
            live.tick([])
        await until(lambda: leg.figures().packets_received == 20)
        try:
            with pytest.raises(TimeoutError, match="does the disk hang"):
                await stuck.open()
            with structlog.testing.capture_logs() as logs:
                closing = asyncio.create_task(live.close())
                await until(lambda: bool(notes.goodbyes))
                assert logs == [], "the goodbye is said, and the file is still waited for"
                async with asyncio.timeout(10):
                    assert (await closing).packets_received == 20
            assert [(entry["event"], entry["path"]) for entry in logs] == [
                ("recording.not_finished", str(tmp_path / "a.opus"))
            ]
        finally:
            reader = os.open(hanging, os.O_RDONLY | os.O_NONBLOCK)
    await recorder(tmp_path / "b.opus", 48_000).open()  # after all that waited
    os.close(reader)
    assert abs(len(played(tmp_path / "a.opus")) / RATE_HZ - 0.4) <= BUSY_S, "finished, later, as of the call's end"


async def test_a_recording_that_cannot_begin_leaves_the_call_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "folder.opus").mkdir()
    async with call(Far()) as (leg, _):
        live = LiveCall(leg)
        with pytest.raises(IsADirectoryError):
            await live.tape.record(recorder(tmp_path / "folder.opus", 48_000))
        assert not live.tape.runs
        assert leg.on_sound is None
