"""Calls that are answered: real webhooks, real WebRTC, sound measured at both ends."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import httpx
import numpy as np
import pytest
import redis
import rq

from shared.calls import facts
from shared.log import pseudonym
from tests.acceptance.line import PAGES, PIPELINE, Line
from tests.acceptance.standin import RATE_HZ, Consumer, Meta, Samples, Spelling, dominant_hz, until

TOLERANCE_HZ = 5
PILOT_HZ = 440
CALLER_HZ = 620
TALK_S = 1.0


def recorded(path: Path, codec: str) -> Samples:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as file:
        sound = file.streams.audio[0]
        assert (sound.codec_context.name, sound.rate, sound.channels) == (codec, RATE_HZ, 1)
        frames = [mono for frame in file.decode(sound) for mono in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def assert_nothing_was_lost(line: Line, consumer: Consumer) -> None:
    figures = line.await_fact(consumer, facts.LegClosed)
    assert figures.packets_received > 0
    assert figures.packets_lost == 0
    assert consumer.gone.wait(5)
    assert consumer.lost_packets == 0


class Announced(NamedTuple):
    """Calls that were made side by side, and are over: the prompts take a while."""

    answered: Consumer
    recorded: Consumer
    decoded: Consumer


@pytest.fixture(scope="module")
def announced(line: Line, meta: Meta) -> Announced:
    calls = Announced(*(meta.consumer(PAGES[handler], hz=CALLER_HZ) for handler in ("announce", "record", "minutes")))
    for consumer in calls:
        consumer.ring()
    for consumer in calls:
        line.outcome_of(consumer)
        assert consumer.gone.wait(5)
    return calls


@pytest.mark.meta("3.1-connect", "4.1-offer")
@pytest.mark.parametrize("handler", ["echo", "forward"])
def test_a_caller_is_answered_and_hears_what_the_line_heard(line: Line, meta: Meta, handler: str) -> None:
    consumer = meta.consumer(PAGES[handler], hz=CALLER_HZ).ring()
    heard = consumer.await_sound(TALK_S)
    consumer.hang_up()
    assert abs(dominant_hz(heard) - CALLER_HZ) <= TOLERANCE_HZ
    assert line.outcome_of(consumer) == "completed"
    assert_nothing_was_lost(line, consumer)
    (accept,) = consumer.actions()
    assert accept.action == "accept"
    assert accept.path == f"/v23.0/{consumer.page}/calls"
    assert accept.token == f"token-{handler}"


@pytest.mark.meta("4.2-sdp")
@pytest.mark.parametrize("spelling", ["objects", "strings", "answer only"])
def test_each_side_hears_the_others_tone_however_graph_spells_its_answer(
    line: Line, meta: Meta, spelling: Spelling
) -> None:
    consumer = meta.consumer(PAGES["duet"], hz=CALLER_HZ, spelling=spelling).ring()
    assert line.outcome_of(consumer) == "completed"
    assert_nothing_was_lost(line, consumer)
    assert abs(dominant_hz(consumer.sound()) - PILOT_HZ) <= TOLERANCE_HZ
    file = line.home / f"{consumer.call_id}.wav"
    assert abs(dominant_hz(recorded(file, "pcm_s16le")) - CALLER_HZ) <= TOLERANCE_HZ


@pytest.mark.meta("4.1-end")
def test_the_prompt_is_heard_whole_then_pageline_says_goodbye_to_meta(line: Line, announced: Announced) -> None:
    consumer = announced.answered
    assert line.outcome_of(consumer) == "completed"
    assert [request.action for request in consumer.actions()] == ["accept", "terminate"]
    heard = consumer.sound()
    assert len(heard) / RATE_HZ > 13, "the welcome takes 11 s, the goodbye 3 s"
    assert abs(dominant_hz(heard) - PILOT_HZ) <= TOLERANCE_HZ
    assert_nothing_was_lost(line, consumer)
    assert not [fact for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.RecordingStarted)]


def test_what_a_caller_says_to_the_recording_prompt_is_in_a_file(line: Line, announced: Announced) -> None:
    consumer = announced.recorded
    file = Path(line.await_fact(consumer, facts.RecordingStarted).path)
    assert file.parent == line.home / "recordings"
    said = recorded(file, "opus")
    assert len(said) / RATE_HZ > 12
    assert abs(dominant_hz(said) - CALLER_HZ) <= TOLERANCE_HZ
    assert abs(dominant_hz(consumer.sound()) - PILOT_HZ) <= TOLERANCE_HZ


def test_how_a_call_sounded_is_in_its_story(line: Line, announced: Announced) -> None:
    heard = line.story_of(announced.decoded)
    closed = line.await_fact(announced.decoded, facts.LegClosed)
    assert closed.first_packet_ms is not None
    assert closed.concealed_ms is not None
    assert closed.played_ms > 10_000
    for undecoded in (announced.answered, announced.recorded):
        passed = line.await_fact(undecoded, facts.LegClosed)
        assert (passed.played_ms, passed.concealed_ms, passed.mos_estimate) == (0, None, None)
    samples = heard["quality"]["samples"]
    assert len(samples) >= 2
    received = [sample["packets_received"] for sample in samples]
    assert 0 < sum(received) <= closed.packets_received, f"each has what came since the one before: {received}"
    assert announced.decoded.psid not in str(samples)
    assert "Nobody heard anything" not in " ".join(heard["quality"]["why"])


def test_the_command_tells_the_story_of_a_call_the_consumer_ended(line: Line, meta: Meta) -> None:
    consumer = meta.consumer().ring()
    consumer.await_sound(0.3)
    consumer.hang_up()
    line.outcome_of(consumer)
    story = line.story_of(consumer)
    assert story["call_id"] == consumer.call_id
    assert (story["outcome"], story["phase"]) == ("completed", "ended")
    told = [event["fact"] for event in story["timeline"]]
    milestones = ["Arrived", "Claimed", "OfferMade", "AnswerReceived", "LegConnected", "Terminated", "Closed"]
    assert [fact for fact in told if fact in milestones] == milestones
    assert [event["at_ms"] for event in story["timeline"]] == sorted(event["at_ms"] for event in story["timeline"])


def test_a_handler_is_told_the_keys_it_asks_for(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["menu"]).ring()
    consumer.await_sound(0.2)
    consumer.press("3")
    consumer.await_sound(0.1)
    consumer.press("4711#")
    assert line.outcome_of(consumer) == "completed"
    assert json.loads((line.home / f"{consumer.call_id}.json").read_text()) == ["3", "4711"]
    assert_nothing_was_lost(line, consumer)


def test_callers_talk_together_and_a_supervisor_listens_in_until_she_wants_to_be_heard(line: Line, meta: Meta) -> None:
    one, other = (meta.consumer(PAGES["conference"], hz=hz).ring() for hz in (440, 880))
    supervisor = meta.consumer(PAGES["supervise"], hz=620).ring()
    await_tones({supervisor: {440, 880}, one: {880}, other: {440}})
    supervisor.press("1")
    await_tones({one: {880, 620}, other: {440, 620}, supervisor: {440, 880}})
    other.press("#")
    assert line.outcome_of(other) == "completed"
    await_tones({one: {620}, supervisor: {440}})
    one.hang_up()
    supervisor.press("#")
    for consumer in (one, supervisor):
        assert line.outcome_of(consumer) == "completed"
        assert_nothing_was_lost(line, consumer)


def test_who_is_in_a_room_does_not_notice_that_another_handler_broke_there(line: Line, meta: Meta) -> None:
    one, other = (meta.consumer(PAGES["conference"], hz=hz).ring() for hz in (440, 880))
    intruder = meta.consumer(PAGES["intrude"], hz=620).ring()
    await_tones({one: {880, 620}, other: {440, 620}, intruder: {440, 880}})
    intruder.press("1")
    assert line.await_fact(intruder, facts.HandlerEnded).how == "raised"
    await_tones({one: {880}, other: {440}})
    for consumer in (one, other):
        consumer.hang_up()
        assert line.outcome_of(consumer) == "completed"
        assert_nothing_was_lost(line, consumer)


def await_tones(expected: Mapping[Consumer, set[int]]) -> None:
    """Wait until each hears these tones and no other."""
    for consumer, tones in expected.items():
        until(partial(hears, consumer, tones), f"{tones} at {consumer.hz}")


def hears(consumer: Consumer, tones: set[int]) -> bool:
    """Tell whether of 440, 620 and 880 Hz these stand out in the last half second."""
    heard = consumer.sound(last_s=0.5)
    if len(heard) < RATE_HZ // 2:
        return False
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))  # 2 Hz each
    level = {hz: spectrum[hz // 2 - 3 : hz // 2 + 4].max() for hz in (440, 620, 880)}
    return {hz for hz, loudness in level.items() if loudness > spectrum.max() / 4} == tones


def test_a_call_whose_end_comes_before_its_beginning_is_never_answered(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer.hang_up()
    consumer.ring()
    line.await_fact(consumer, facts.Arrived)
    assert line.outcome_of(consumer) == "cancelled"
    assert not consumer.actions()
    assert not [fact for fact in line.log_of(consumer.call_id) if isinstance(fact, facts.HandlerStarted)]


def test_the_action_worker_is_one_that_rq_knows_by_name(line: Line) -> None:
    with redis.Redis.from_url(line.valkey.url) as client:
        (worker,) = rq.Worker.all(client)
        assert worker.pid == line.processes["action"].pid
        assert str(worker.pid) in worker.name
        assert worker.queue_names() == ["accept", "control", "bulk"]
        assert worker.successful_job_count > 0
        assert worker.failed_job_count == 0


def test_nobody_says_what_is_secret(line: Line, meta: Meta) -> None:
    consumer = meta.consumer().ring()
    consumer.await_sound(0.1)
    consumer.hang_up()
    line.outcome_of(consumer)
    said = until(lambda: [told for told in _summaries(line) if told["call"] == consumer.call_id], "the call's line")
    assert [(told["outcome"], told["consumer"]) for told in said] == [("completed", pseudonym(consumer.psid))]
    for process in line.processes.values():
        for secret in ("a=ice-pwd", "token-", consumer.psid, line.valkey.url, "s3cret"):
            assert secret not in process.said


def test_metrics_tell_how_calls_went_and_how_processes_are(line: Line, meta: Meta) -> None:
    consumer = meta.consumer().ring()
    consumer.await_sound(0.1)
    consumer.hang_up()
    line.outcome_of(consumer)

    def shown() -> dict[str, float]:
        lines = httpx.get(f"{line.base}/metrics").text.splitlines()
        return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[0] != "#")}

    counted = (
        "pageline_call_answer_ms_count",
        "pageline_call_first_audio_ms_count",
        'pageline_handlers_total{how="cancelled"}',
    )
    until(lambda: set(counted) <= shown().keys(), "the counts", timeout_s=15)
    metrics = shown()
    assert {kind: metrics[f'pageline_processes{{kind="{kind}"}}'] for kind in PIPELINE} == dict.fromkeys(PIPELINE, 1.0)
    assert metrics['pageline_process_resident_bytes{kind="media"}'] > 10_000_000
    assert metrics['pageline_process_cpu_seconds_total{kind="action"}'] > 0
    assert 0 < metrics["pageline_media_late_max_seconds"] < 5
    assert metrics['pageline_media_workers{state="taking"}'] == 1
    assert metrics['pageline_webhook_kinds_total{event="connect"}'] >= 1
    assert metrics['pageline_queue_jobs{queue="accept"}'] == 0


def _summaries(line: Line) -> list[dict[str, Any]]:
    """Return the canonical lines of the calls that were closed, one for each."""
    told = line.processes["media"].said.splitlines()
    return [json.loads(one) for one in told if '"event": "call.summary"' in one and one.endswith("}")]
