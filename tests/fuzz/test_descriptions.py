"""Hostile session descriptions: through the gate into aiortc's parser, and then into a real leg under way.

What a peer says may be refused. It may not raise anything else, take long, or hurt the worker.
"""

import asyncio
import time
import tracemalloc
from collections.abc import Awaitable
from typing import Final

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import drawn, examples
from tests.fuzz.descriptions import DESCRIPTIONS, LOCAL, SAMPLES, spoken
from tests.integration.test_leg import THEIRS_HZ, Far, call, converse, dominant_hz
from workers.media.description import MAX_BYTES, MAX_SECTIONS
from workers.media.leg import CLOSE_TIMEOUT_S, NEGOTIATION_TIMEOUT_S, Leg, LegFailed
from workers.media.sdp_gate import SdpRefused, admit_answer, admit_offer, audio_terms

GATE_LIMIT_S: Final = 0.5
"""Far above what it takes, far below what a caller would notice; the machine may be busy."""

LONGEST_REASON: Final = 200
GATE_LIMIT_BYTES: Final = 8 * 1024 * 1024
ANSWER: Final = next(text for text in SAMPLES if "a=setup:passive" in text and "a=group:BUNDLE 0\r" in text)


def passes(text: str) -> str | None:
    """Send a description through the gate as an answer and as an offer; return what comes out, or none."""
    admitted = None
    for admit in (admit_answer, admit_offer):
        refusal = "none"
        try:
            admitted = admit(text)
        except SdpRefused as refused:
            refusal = str(refused)
        assert 0 < len(refusal) < LONGEST_REASON, "a refusal says why and quotes no description"
    return admitted


@given(DESCRIPTIONS | spoken())
@examples(500)
def test_what_passes_the_gate_is_taken_by_the_parser_and_understood_the_same_again(text: str) -> None:
    began_s = time.process_time()
    admitted = passes(text)
    assert time.process_time() - began_s < GATE_LIMIT_S
    if admitted is None:
        return
    assert len(admitted) <= MAX_BYTES
    parsed = SessionDescription.parse(admitted)
    assert [media.kind for media in parsed.media] == ["audio"] * len(parsed.media)
    assert 0 < len(parsed.media) <= MAX_SECTIONS
    mids = [media.rtp.muxId for media in parsed.media]
    assert all(mids)
    assert len(set(mids)) == len(mids)
    assert [group.items for group in parsed.group] == [mids]
    for media in parsed.media:
        assert {codec.clockRate for codec in media.rtp.codecs if codec.name == "opus"} == {48_000}
        assert all(0 <= stream.ssrc < 1 << 32 for stream in media.ssrc)
    assert admit_offer(admitted) == admitted, "what was written anew reads as before"
    terms = audio_terms(admitted)
    assert terms.opus
    assert terms.ufrag
    assert terms.password


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ANSWER + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" * 2_000, id="thousands of sections"),
        pytest.param(ANSWER + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 1_300, id="thousands of candidates"),
        pytest.param(ANSWER + "a=rtpmap:111 opus/48000/2\r\n" * 2_300, id="thousands of codecs"),
        pytest.param(ANSWER + f"a=fingerprint:sha-256 {'AB:' * 20_000}AB\r\n", id="an endless fingerprint"),
        pytest.param(ANSWER.replace("111\r\n", " ".join(["111"] * 15_000) + "\r\n", 1), id="endless payload types"),
        pytest.param("v=0\r\n" + "a=x\r\n" * 200_000, id="a megabyte of attributes"),
        pytest.param("v=0\r\no=" + "- 1 1 IN IP4 x " * 4_000, id="an endless origin"),
        pytest.param("v=0\r\nm=audio 9 " + "A/" * 30_000, id="an endless profile"),
    ],
)
def test_an_enormous_description_costs_little_time_and_memory(text: str) -> None:
    began_s = time.process_time()
    passes(text)
    assert time.process_time() - began_s < GATE_LIMIT_S
    tracemalloc.start()
    try:
        passes(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < GATE_LIMIT_BYTES


# -- a leg under way ---------------------------------------------------------------------------------------------------


async def reason_of(step: Awaitable[None]) -> str | None:
    """Return why a step of the negotiation failed; none if it did not."""
    try:
        await step
    except LegFailed as failed:
        return failed.reason
    return None


async def negotiate(answer: str, renegotiation: str | None, later: str) -> None:
    """Take a leg through Meta's words; whatever they are, it can be closed in time and leaves nothing behind."""
    before = asyncio.all_tasks()
    leg = Leg(addresses=("127.0.0.1",))
    try:
        await leg.offer()
        async with asyncio.timeout(3 * NEGOTIATION_TIMEOUT_S + 1):
            for step in (leg.apply(answer, renegotiation), leg.renegotiate(later)):
                reason = await reason_of(step)
                assert reason is None or 0 < len(reason) < LONGEST_REASON, "a reason quotes no description"
    finally:
        async with asyncio.timeout(CLOSE_TIMEOUT_S + 1):
            await leg.close()
    async with asyncio.timeout(2):
        while leftover := asyncio.all_tasks() - before:
            await asyncio.wait(leftover, timeout=0.05)


def test_a_leg_survives_any_words_of_the_peer_and_still_answers_the_next_call() -> None:
    unheard: list[str] = []
    words = DESCRIPTIONS | spoken()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(repr(context.get("exception") or context)))

        @given(st.sampled_from(LOCAL) | words, st.none() | words, words)
        @examples(60)
        def any_words(answer: str, renegotiation: str | None, later: str) -> None:
            runner.run(negotiate(answer, renegotiation, later))
            assert unheard == [], "an exception nobody awaited"

        any_words()


async def test_words_that_are_refused_during_a_conversation_do_not_disturb_it() -> None:
    words = await asyncio.to_thread(drawn, (DESCRIPTIONS | spoken()).filter(lambda text: passes(text) is None), 40)
    async with call(Far(hz=THEIRS_HZ)) as (leg, _):
        for text in words:
            assert await reason_of(leg.renegotiate(text))
        sound = await converse(leg)
        assert abs(dominant_hz(sound[-48_000:]) - THEIRS_HZ) <= 5
        assert leg.live
