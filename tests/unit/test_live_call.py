"""The sound of a call, tick by tick: whose packets leave, when, and in which order."""

import asyncio
import gc
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.handling import Frame
from tests.integration.test_leg import until
from workers.media import srtp
from workers.media.dtmf import Digit, DigitReader
from workers.media.encoding import SpeechEncoder
from workers.media.host import Ear, Host
from workers.media.leg import Leg
from workers.media.live_call import IDLE_TICKS, KEPT_TICKS, LATE_TICKS, SILENCE, LiveCall
from workers.media.opus import DTX_BYTES, OpusDecoder, encode_clip
from workers.media.playout import Playout
from workers.media.rounds import SECOND_TURN_S, Rounds
from workers.media.rtp import RtpPacket, parse
from workers.media.session import RtpSession

RATE = 16_000
OPUS, EVENT = 111, 110


def tone(ticks: int, hz: float = 500.0, rate: int = RATE) -> bytes:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(ticks * rate // 50) / rate)).astype(np.int16).tobytes()


SOUND = Frame(tone(1), RATE)
CLIP = encode_clip(tone(10, 700, 48_000))
WORDS = encode_clip(tone(8, 900, 48_000))


class Wire:
    """Keeps what would be sealed and sent."""

    def __init__(self) -> None:
        self.kept: list[tuple[RtpPacket, bytes]] = []

    def send(self, length: int) -> bool:
        packet = parse(srtp.packet, length)
        assert packet is not None
        self.kept.append((packet, bytes(srtp.packet[packet.start : packet.end])))
        return True


class WiredLeg(Leg):
    """A leg whose session runs, without a connection below it."""

    def __init__(self, *, dtx: bool = False) -> None:
        RtpSession.__init__(self)
        self.on_ended = None
        self.dtx = dtx
        self.wire: Any = Wire()
        self._media = self.wire
        self._live = True
        self._outgoing.payload_type, self._outgoing.events = OPUS, (EVENT, 48_000)
        self._incoming.expect({OPUS}, {EVENT: 48_000}, ())

    async def close(self) -> None:
        self._cease()

    def hears(self, payload: bytes, number: int, at_s: float) -> None:
        """Take a packet of the peer's, stamped with when it comes."""
        data = struct.pack("!BBHLL", 0x80, OPUS, number, int(at_s * 48_000), 7) + payload
        srtp.packet[: len(data)] = data
        self.take_rtp(len(data), at_s)

    def kinds(self, start: int = 0) -> str:
        """Tell of each packet what it is: of a clip, last words, a key, silence, or the handler's speech."""
        names = {SILENCE: "-"} | dict.fromkeys(WORDS, "w") | dict.fromkeys(CLIP, "c")
        return "".join(
            "k" if packet.payload_type == EVENT else names.get(payload, "h")
            for packet, payload in self.wire.kept[start:]
        )


def line(*, dtx: bool = False, call_id: str = "") -> tuple[LiveCall, WiredLeg]:
    leg = WiredLeg(dtx=dtx)
    return LiveCall(leg, call_id=call_id), leg


def put(live: LiveCall, frames: int) -> None:
    for _ in range(frames):
        live.outbound.put(SOUND)


def tick(live: LiveCall, *, before: int = 0, meanwhile: int = 0) -> int:
    """Do a round in which the handler sends frames before and after its first half; return how many packets left."""
    assert isinstance(live.leg, WiredLeg)
    already = len(live.leg.wire.kept)
    put(live, before)
    live.tick([])
    put(live, meanwhile)
    live.catch_up()
    return len(live.leg.wire.kept) - already


# --- a handler that is late ---


def test_frames_in_time_leave_one_by_one_whichever_half_of_the_round_they_are_for() -> None:
    live, leg = line()
    assert [tick(live, before=1) for _ in range(10)] == [1] * 10
    assert [tick(live, meanwhile=1) for _ in range(10)] == [1] * 10
    assert leg.kinds() == "h" * 20


@pytest.mark.parametrize("late", range(1, LATE_TICKS + 1))
def test_a_frame_that_is_a_little_late_is_sent_in_addition(late: int) -> None:
    live, _ = line()
    tick(live, before=1)
    assert [tick(live) for _ in range(late)] == [0] * late
    assert tick(live, before=late + 1) == late + 1
    assert [tick(live, before=1) for _ in range(5)] == [1] * 5
    assert not live.outbound


@pytest.mark.parametrize("paused", range(LATE_TICKS + 1, 30))
def test_a_handler_that_paused_for_longer_starts_anew_without_a_burst(paused: int) -> None:
    live, leg = line()
    tick(live, before=1)
    for _ in range(paused):
        tick(live)
    before = len(leg.wire.kept)
    assert [tick(live, before=6), *(tick(live) for _ in range(6))] == [1] * 6 + [0]
    assert leg.kinds(before) == "h" * 6


def test_a_long_speech_handed_over_at_once_is_sent_at_its_pace() -> None:
    live, _ = line()
    assert [tick(live, before=50 * (number == 0)) for number in range(50)] == [1] * 50


lateness = st.lists(st.tuples(st.integers(0, LATE_TICKS), st.booleans(), st.integers(0, 3)), max_size=30)


@settings(deadline=None, max_examples=60)
@given(lateness)
@example([(0, True, 2), (1, False, 3)])  # who left frames out is owed them, and is late again
@example([(2, False, 0), (2, False, 0)])
def test_no_lateness_delays_what_comes_after_it(episodes: list[tuple[int, bool, int]]) -> None:
    """A handler is late by a tick or two, or has nothing to say for as long, now and then: nothing piles up."""
    live, _ = line()
    tick(live, before=1)
    for late, left_out, in_time in episodes:
        for _ in range(late):
            tick(live)
        tick(live, before=1 if left_out else late + 1)
        assert not live.outbound
        for _ in range(in_time):
            assert tick(live, meanwhile=1) == 1
            assert not live.outbound


# --- who speaks in whose place ---


async def test_the_handlers_frames_wait_for_a_clip_and_its_end_comes_first() -> None:
    live, leg = line()
    playing = asyncio.create_task(live.play(CLIP))
    await asyncio.sleep(0)
    for _ in range(15):
        tick(live, before=1, meanwhile=1)
    await playing
    assert leg.kinds().startswith("c" * len(CLIP) + "h")
    assert set(leg.kinds()[len(CLIP) :]) == {"h"}


async def test_frames_owed_from_before_a_clip_are_not_made_up_for_after_it() -> None:
    live, _ = line()
    tick(live, before=1)
    tick(live)
    playing = asyncio.create_task(live.play(CLIP))
    await asyncio.sleep(0)
    sent = [tick(live, before=1) for _ in range(len(CLIP) + 5)]
    await playing
    assert sent == [1] * len(sent)


async def test_nothing_comes_between_the_packets_of_keys() -> None:
    live, leg = line()
    tick(live, before=1)
    tick(live)
    pressing = asyncio.create_task(live.send_digits("12"))
    await asyncio.sleep(0)
    while not pressing.done():
        assert tick(live, before=1, meanwhile=1) == 1
        await asyncio.sleep(0)
    assert set(leg.kinds(1)) == {"k", "-"}
    assert tick(live) >= 1
    assert leg.kinds()[-1] == "h"


async def test_nothing_is_heard_after_last_words_but_comfort() -> None:
    live, leg = line()
    playing = asyncio.create_task(live.play(CLIP))
    await asyncio.sleep(0)
    tick(live, before=2)
    live.say_last_words(WORDS)
    live.say_last_words(CLIP)  # once is enough
    for _ in range(60):
        tick(live, before=1, meanwhile=1)
    assert leg.kinds().rstrip("-") == "c" + "w" * len(WORDS)
    playing.cancel()


async def test_a_bridged_call_sends_what_the_other_hears_and_nothing_of_its_handler() -> None:
    (live, leg), (other, far) = line(), line()
    tick(live, before=1)
    bridging = asyncio.create_task(live.bridge(other))
    await asyncio.sleep(0)
    for number in range(40):
        far.hears(CLIP[number % len(CLIP)], number, number * 0.02)
        tick(live, before=1, meanwhile=1)
        tick(other, before=1)
    assert leg.kinds() == "h" + "c" * 40
    assert set(far.kinds()) == {"-"}, "nobody speaks to it, and it is kept company"
    numbers = [packet.sequence - leg.wire.kept[0][0].sequence & 0xFFFF for packet, _ in leg.wire.kept]
    assert numbers == list(range(41))
    bridging.cancel()
    await asyncio.wait([bridging])
    before = len(leg.wire.kept)
    tick(live)
    assert leg.kinds(before)[:1] == "h", "the handler speaks again"


@pytest.mark.parametrize("what", ["keys", "bridge", "last words"])
async def test_live_speech_is_not_delayed_for_good_by_what_was_sent_in_its_place(what: str) -> None:
    (live, leg), (other, _) = line(), line()
    tick(live, before=1)
    tick(live)  # late by a tick as it begins
    match what:
        case "keys":
            replacing = asyncio.create_task(live.send_digits("12"))
        case "bridge":
            replacing = asyncio.create_task(live.bridge(other))
        case _:
            replacing = asyncio.create_task(asyncio.Event().wait())
            live.say_last_words(WORDS)
    await asyncio.sleep(0)
    already = len(leg.wire.kept)
    assert tick(live, before=2) == (what != "bridge")
    late = 0
    for _ in range(40):
        if what == "keys" and replacing.done():
            break
        late = 1 - late
        tick(live, before=0 if late else 2)
        assert not live.outbound
        await asyncio.sleep(0)
    assert "h" not in leg.kinds(already)
    if what == "last words":
        return
    replacing.cancel()
    await asyncio.wait([replacing])
    tick(live, before=1 + late)
    assert not live.outbound
    assert [tick(live, meanwhile=1) for _ in range(5)] == [1] * 5
    assert leg.kinds()[-6:] == "h" * 6


async def test_a_bridged_call_is_bridged_with_nobody_else_until_that_bridge_has_ended() -> None:
    one, other, third = (LiveCall(WiredLeg(), call_id=name) for name in ("c_1", "c_2", "c_3"))
    bridging = asyncio.create_task(one.bridge(other))
    await asyncio.sleep(0)
    for late, bridged in (((one, third), "c_1"), ((third, other), "c_2"), ((other, one), "c_2"), ((one, one), "c_1")):
        with pytest.raises(RuntimeError, match=f"call {bridged} is bridged already.*end it before the next"):
            await late[0].bridge(late[1])
    assert one.leg._onward is other.leg
    assert other.leg._onward is one.leg
    assert third.leg._onward is None
    await other.close()
    async with asyncio.timeout(5):
        await bridging
    echo = asyncio.create_task(one.bridge(one))
    await asyncio.sleep(0)
    assert one.leg._onward is one.leg
    await one.close()
    async with asyncio.timeout(5):
        await echo


# --- keys ---


def keys_read(leg: WiredLeg) -> list[Digit]:
    reader = DigitReader()
    packets = [(packet, payload) for packet, payload in leg.wire.kept if packet.payload_type == EVENT]
    return [
        digit
        for packet, payload in packets
        for digit in reader.take(payload, 1, packet.timestamp, 48_000, 0.0, marker=packet.marker)
    ]


@pytest.mark.parametrize("held", range(1, 5))
async def test_a_key_that_is_down_when_nobody_wants_it_any_more_is_let_go(held: int) -> None:
    (live, leg), (other, far) = line(), line()
    bridging = asyncio.create_task(live.bridge(other))
    pressing = asyncio.create_task(live.send_digits("59"))
    await asyncio.sleep(0)
    for _ in range(held):
        tick(live)
    pressing.cancel()
    await asyncio.wait([pressing])
    for number in range(10):
        far.hears(CLIP[number], number, number * 0.02)
        tick(live)
    assert keys_read(leg) == [Digit("5", 20 * held)]
    assert leg.kinds() == "k" * (held + 3) + "c" * 7, "and the bridge carries again"
    assert len({packet.timestamp for packet, _ in leg.wire.kept[: held + 3]}) == 1
    bridging.cancel()


async def test_keys_that_nobody_pressed_yet_are_not_pressed_if_nobody_wants_them() -> None:
    live, leg = line()
    pressing = asyncio.create_task(live.send_digits("5"))
    await asyncio.sleep(0)
    pressing.cancel()
    await asyncio.wait([pressing])
    assert tick(live, before=1) == 1
    assert leg.kinds() == "h"


async def test_keys_fail_when_the_peer_takes_none_any_more() -> None:
    live, leg = line()
    pressing = asyncio.create_task(live.send_digits("123"))
    await asyncio.sleep(0)
    tick(live)
    leg._outgoing.events = None  # as a later offer may have it
    tick(live)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="takes no digits"):
            await pressing
    assert tick(live, before=3) == 1, "two were for the ticks before"
    assert leg.kinds() == "kh"


# --- comfort ---


# --- a handler that begins to hear ---


def first_heard(ticks_before_it_hears: int) -> list[Frame]:
    """Let the peer speak from the beginning and a handler hear later; return what it is given in four ticks."""
    live, leg = line()
    now_s = time.monotonic()
    for number in range(3):
        leg.hears(CLIP[number], number, now_s + number * 0.02)
    for _ in range(ticks_before_it_hears):
        live.listen([])
    live.add_ear(Ear(), 48_000)
    heard: list[tuple[Ear, Frame]] = []
    for _ in range(4):
        live.listen(heard)
    return [frame for _, frame in heard]


@pytest.mark.parametrize("ticks", [0, 1, KEPT_TICKS])
def test_a_handler_that_hears_soon_misses_nothing_that_the_consumer_said_meanwhile(ticks: int) -> None:
    decoder = OpusDecoder()
    assert [frame.pcm for frame in first_heard(ticks)[:3]] == [decoder.decode(packet) for packet in CLIP[:3]]


def test_a_handler_that_hears_later_is_not_given_what_was_said_before() -> None:
    assert first_heard(KEPT_TICKS + 1) == []


def test_who_has_nothing_to_say_sends_silence_every_half_second() -> None:
    live, leg = line()
    sent = [tick(live) for _ in range(4 * IDLE_TICKS)]
    assert sent == ([1] + [0] * (IDLE_TICKS - 1)) * 4
    assert leg.kinds() == "-" * 4
    tick(live, before=1)
    assert [tick(live) for _ in range(IDLE_TICKS)] == [0] * (IDLE_TICKS - 1) + [1], "counted from the last packet"


async def test_who_is_bridged_with_a_silent_peer_sends_silence_and_goes_on_numbering_when_it_speaks() -> None:
    (live, leg), (other, far) = line(), line()
    bridging = asyncio.create_task(live.bridge(other))
    await asyncio.sleep(0)
    for number in range(300):
        if number % 100 < 20:
            spoken = number // 100 * 20 + number % 100  # who pauses goes on numbering where it stopped
            far.hears(CLIP[spoken % len(CLIP)], spoken, number * 0.02)
        tick(live)
    assert leg.kinds() == ("c" * 20 + "-" * 3) * 3
    first = leg.wire.kept[0][0].sequence
    assert [packet.sequence - first & 0xFFFF for packet, _ in leg.wire.kept] == list(range(69))
    bridging.cancel()


# --- pauses left out ---


def speech_and_pauses() -> Iterable[Frame]:
    noise = np.random.default_rng(1).normal(0, 2, RATE // 50 * 150).astype(np.int16).tobytes()
    for part in (tone(30), noise, tone(30)):
        yield from (Frame(part[at : at + 640], RATE) for at in range(0, len(part), 640))


def test_pauses_are_left_out_by_choice_and_stamped_as_if_they_had_been_sent() -> None:
    live, leg = line(dtx=True)
    frames = list(speech_and_pauses())
    for frame in frames:
        live.outbound.put(frame)
        tick(live)
    packets = [packet for packet, _ in leg.wire.kept]
    assert 60 < len(packets) < 100
    assert all(len(payload) > DTX_BYTES for _, payload in leg.wire.kept)
    assert [packet.sequence - packets[0].sequence & 0xFFFF for packet in packets] == list(range(len(packets)))
    stamps = [packet.timestamp - packets[0].timestamp & 0xFFFFFFFF for packet in packets]
    assert {stamp % 960 for stamp in stamps} == {0}
    assert stamps[-1] == 960 * (len(frames) - 1)
    gaps = [(after - before) // 960 for before, after in pairwise(stamps)]
    assert max(gaps) < IDLE_TICKS, "the encoder says by itself now and then that it is there"
    assert [packet.marker for packet in packets[1:]] == [gap > 1 for gap in gaps]


def test_pauses_left_out_are_pauses_to_the_far_side_and_delay_nothing() -> None:
    live, leg = line(dtx=True)
    playout, pieces = Playout(RATE), []
    for number, frame in enumerate(speech_and_pauses()):
        already, now_s = len(leg.wire.kept), number * 0.02
        live.outbound.put(frame)
        tick(live)
        for packet, payload in leg.wire.kept[already:]:
            playout.push(packet.sequence, packet.timestamp, payload, now_s)
        pieces.append(np.frombuffer(playout.pull(now_s + 0.01, RATE) or bytes(640), np.int16))
    assert playout.concealed_ms == 0
    assert playout.silent_ms > 1_500
    loud = [place for place, piece in enumerate(pieces) if np.abs(piece).max() > 4_000]
    assert all(place < 35 or place >= 180 for place in loud)
    assert min(place for place in loud if place > 35) <= 182, "the second part began at 180"
    assert playout.decoded_packets >= len(leg.wire.kept) - 3


def test_pauses_are_sent_where_nobody_chose_otherwise() -> None:
    live, leg = line()
    for sent, frame in enumerate(speech_and_pauses(), 1):
        live.outbound.put(frame)
        tick(live)
        assert len(leg.wire.kept) == sent
    assert all(len(payload) > DTX_BYTES for _, payload in leg.wire.kept)


# --- rounds ---


async def test_one_call_whose_sound_fails_is_ended_and_the_others_go_on() -> None:
    loop = asyncio.get_running_loop()
    rounds = Rounds(Host(loop, loop))
    calls = [line(call_id=f"c_{number}") for number in range(3)]
    ended: list[tuple[int, str]] = []
    for number, (live, leg) in enumerate(calls):
        rounds.lives[live] = None
        leg.on_ended = lambda reason, number=number: ended.append((number, reason))
        if number == 1:
            live.outbound.put(Frame(b"too short", RATE))
        put(live, 4)
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            rounds.go()
    assert [(entry["event"], entry["call"]) for entry in logs] == [("call.sound_failed", "c_1")]
    assert list(rounds.lives) == [calls[0][0], calls[2][0]]
    assert ended == [(1, "its sound could not be carried")]
    assert [leg.kinds() for _, leg in calls] == ["hhhh", "", "hhhh"]


async def test_what_a_handler_says_on_hearing_leaves_before_the_next_round() -> None:
    loop = asyncio.get_running_loop()
    rounds = Rounds(Host(loop, loop))
    live, leg = line()
    rounds.lives[live] = None
    ear = Ear()
    live.add_ear(ear, RATE)
    for number in range(5):
        leg.hears(CLIP[number], number, loop.time())

    for number in range(5):
        while not live.outbound:
            rounds.go()
            with suppress(TimeoutError):
                async with asyncio.timeout(SECOND_TURN_S / 2):  # before the first packet is due nothing is heard
                    live.outbound.put(await ear.take())
        await until(lambda: not live.outbound)  # though no round follows
        assert leg.kinds().count("h") == number + 1


async def test_a_call_that_is_over_counts_no_longer_among_those_encoded() -> None:
    """Without the collector, which may not run for long: what a call held must go with the last who knows it."""
    gc.collect()
    before, calls = len(SpeechEncoder._all), [line()[0] for _ in range(3)]
    for live in calls:
        tick(live, before=1)
    assert len(SpeechEncoder._all) == before + 3
    gc.disable()
    try:
        while calls:
            live = calls.pop()
            await live.close()
            del live
            assert len(SpeechEncoder._all) == before + len(calls)
    finally:
        gc.enable()


def test_who_is_cut_off_within_a_word_is_silent_at_once_and_leaves_the_far_side_nothing_to_make_up() -> None:
    live, leg = line()
    put(live, 20)
    for _ in range(5):
        tick(live)
    live.outbound.clear()
    for _ in range(3):
        tick(live)
    assert leg.kinds() == "hhhhh-"


def test_who_is_cut_off_and_goes_on_with_something_else_is_heard_at_once() -> None:
    live, leg = line()
    put(live, 20)
    tick(live)
    live.outbound.clear()
    put(live, 2)
    for _ in range(4):
        tick(live)
    assert leg.kinds() == "hhh"


# --- on hold ---


async def test_on_hold_the_music_goes_round_and_the_handlers_speech_is_dropped() -> None:
    live, leg = line()
    live.hold(CLIP)
    for _ in range(25):
        tick(live, before=1)
    assert leg.kinds() == "c" * 25
    assert [payload for _, payload in leg.wire.kept] == [CLIP[number % len(CLIP)] for number in range(25)]
    live.resume()
    before = len(leg.wire.kept)
    tick(live, before=1)
    assert leg.kinds(before) == "h"


async def test_on_hold_a_clip_comes_before_the_music_and_the_music_goes_on_where_it_was() -> None:
    live, leg = line()
    live.hold(CLIP)
    tick(live)
    playing = asyncio.create_task(live.play(WORDS))
    await asyncio.sleep(0)
    for _ in range(len(WORDS)):
        tick(live)
    await playing
    tick(live)
    assert leg.kinds() == "c" + "w" * len(WORDS) + "c"
    assert leg.wire.kept[-1][1] == CLIP[1]


async def test_a_bridged_call_on_hold_and_the_other_do_not_hear_each_other_until_it_is_resumed() -> None:
    (live, leg), (other, far) = line(), line()
    bridging = asyncio.create_task(live.bridge(other))
    await asyncio.sleep(0)
    live.hold(CLIP)
    for number in range(20):
        leg.hears(WORDS[number % len(WORDS)], number, number * 0.02)
        far.hears(WORDS[number % len(WORDS)], number, number * 0.02)
        tick(live)
        tick(other)
    assert leg.kinds() == "c" * 20, "the consumer hears music and nothing of the other"
    assert "w" not in far.kinds()
    live.resume()
    before, far_before = len(leg.wire.kept), len(far.wire.kept)
    for number in range(20, 30):
        leg.hears(WORDS[number % len(WORDS)], number, number * 0.02)
        far.hears(WORDS[number % len(WORDS)], number, number * 0.02)
        tick(live)
    assert leg.kinds(before) == "w" * 10
    assert far.kinds(far_before) == "w" * 10
    bridging.cancel()
    await asyncio.wait([bridging])


async def test_nobody_hears_who_is_on_hold() -> None:
    live, leg = line()
    ear = Ear()
    live.add_ear(ear, RATE)
    live.hold(CLIP)
    heard: list[tuple[Ear, Frame]] = []
    began_s = time.monotonic() - 1
    for number in range(10):
        leg.hears(WORDS[number % len(WORDS)], number, began_s + number * 0.02)
        live.listen(heard)
    assert heard == []
    live.resume()
    for number in range(10, 20):
        leg.hears(WORDS[number % len(WORDS)], number, began_s + number * 0.02)
        live.listen(heard)
    assert heard
