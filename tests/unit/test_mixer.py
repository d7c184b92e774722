"""Calls in a room, round by round on virtual time: each hears all others and not itself, and silence costs nothing."""

import asyncio
import gc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.handling import Frame, Rate, Room
from tests.unit.test_live_call import SOUND, WORDS, WiredLeg, line, speech_and_pauses, tick, tone
from workers.media.encoding import SpeechEncoder
from workers.media.host import Ear, Host
from workers.media.live_call import LiveCall
from workers.media.mixer import ENDING_FRAMES, Mixer, Participant, mixer_of
from workers.media.opus import OpusDecoder, encode_clip
from workers.media.rounds import Rounds

A, B, C = 440, 620, 880
LOUD, FAINT = 2_000, 300
"""Each tone has 8,000; what a codec leaves of it, and what it makes up beside it."""
SECOND = 50


class VirtualLeg(WiredLeg):
    """A leg that is listened to at the time of the round, and not of the machine."""

    now_s = 0.0
    broken = False

    def pull(self, rate: int = 48_000) -> bytes | None:
        if self.broken:
            raise ValueError("its sound cannot be had")
        self.hear()
        return self._playout.pull(self.now_s, rate)


class Caller:
    """A call whose consumer hums, if it is told what."""

    def __init__(self, hz: float | None = None) -> None:
        self.leg = VirtualLeg()
        self.live = LiveCall(self.leg, call_id=f"c_{hz}")
        self.hums = None if hz is None else encode_clip(tone(SECOND, hz, 48_000))
        self.participant: Participant | None = None

    def join(self, mixer: Mixer, *, listen_only: bool = False) -> None:
        self.participant = Participant(mixer, self.leg, listen_only=listen_only)
        self.live.join(self.participant)

    def leave(self) -> None:
        self.live.leave(self.participant)

    @property
    def told(self) -> list[bytes]:
        """The payloads of what left for it."""
        return [payload for _, payload in self.leg.wire.kept]

    def heard(self, last: int = SECOND) -> NDArray[np.int16]:
        """Decode what it was told lately."""
        decoder = OpusDecoder()
        return np.frombuffer(b"".join([decoder.decode(payload) for payload in self.told])[-last * 1920 :], np.int16)

    def hears(self, last: int = SECOND) -> set[int]:
        """Return which of the tones are in what it was told lately."""
        return tones(self.heard(last))


class Floor:
    """Callers of one worker, and its rounds."""

    def __init__(self, *callers: Caller) -> None:
        loop = asyncio.get_running_loop()
        self.rounds = Rounds(Host(loop, loop))
        self.callers = callers
        self.mixer = Mixer(48_000, self)
        self.number = 0
        self.rounds.lives.update(dict.fromkeys(caller.live for caller in callers))

    def go(self, rounds: int = 2 * SECOND) -> None:
        """Do so many rounds, in which everybody hums."""
        for _ in range(rounds):
            at_s = self.number * 0.02
            for caller in self.callers:
                caller.leg.now_s = at_s + 0.001
                if caller.hums is not None:
                    caller.leg.hears(caller.hums[self.number % SECOND], self.number & 0xFFFF, at_s)
            self.number += 1
            self.rounds.go()


def tones(sound: NDArray[np.int16], *, faint: int = FAINT) -> set[int]:
    """Return which tones are in a sound, and see that none is only half there."""
    assert len(sound) >= 960 * 20, "too little to tell"
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) * 4 / len(sound)
    resolution = 48_000 / len(sound)
    level = {hz: spectrum[int((hz - 10) / resolution) : int((hz + 10) / resolution) + 1].max() for hz in (A, B, C)}
    assert all(loudness > LOUD or loudness < faint for loudness in level.values()), level
    return {hz for hz, loudness in level.items() if loudness > LOUD}


# --- who hears whom ---


async def test_each_of_three_hears_exactly_the_other_two() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(C))))
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    assert [caller.hears() for caller in callers] == [{B, C}, {A, C}, {A, B}]


async def test_two_hear_each_other_as_they_would_alone() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    assert [caller.hears() for caller in callers] == [{B}, {A}]


async def test_who_only_listens_hears_all_and_is_neither_heard_nor_decoded() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(C))))
    for caller in callers:
        caller.join(floor.mixer, listen_only=caller is callers[2])
    floor.go()
    assert [caller.hears() for caller in callers] == [{B}, {A}, {A, B}]
    assert callers[2].leg.figures().played_ms == 0


async def test_who_only_listened_may_come_back_to_speak() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(C))))
    for caller in callers:
        caller.join(floor.mixer, listen_only=caller is callers[2])
    floor.go()
    callers[2].leave()
    callers[2].join(floor.mixer)
    floor.go()
    assert [caller.hears() for caller in callers] == [{B, C}, {A, C}, {A, B}]


@pytest.mark.parametrize("how", ["leaves", "is closed", "fails", "freezes"])
async def test_who_is_gone_disturbs_nobody(how: str) -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(C))))
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    already = [len(caller.told) for caller in callers]
    match how:
        case "leaves":
            callers[2].leave()
            callers[2].leave()  # once more is no harm
        case "is closed":
            await callers[2].live.close()
        case "fails":
            callers[2].leg.broken = True
        case _:
            callers[2].leg._cease()
    floor.go()
    assert [caller.hears(last=SECOND + 40) for caller in callers[:2]] == [{B}, {A}]
    assert [len(caller.told) - before for caller, before in zip(callers, already, strict=True)][:2] == [100, 100]
    for caller in callers[:2]:
        numbers = [packet.sequence - caller.leg.wire.kept[0][0].sequence & 0xFFFF for packet, _ in caller.leg.wire.kept]
        assert numbers == list(range(len(numbers)))
    assert set(callers[2].told[already[2] :]) <= set(encode_clip(bytes(1920))), "but comfort it was told no more"


async def test_rooms_do_not_hear_each_other() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(C), Caller(A))))
    other = Mixer(48_000, floor)
    for caller, mixer in zip(callers, (floor.mixer, floor.mixer, other, other), strict=True):
        caller.join(mixer)
    floor.go()
    assert [caller.hears() for caller in callers] == [{B}, {A}, {A}, {C}]


@pytest.mark.parametrize("speaker", [0, 1])
async def test_what_is_said_is_told_in_the_same_round_whoever_came_first(speaker: int) -> None:
    callers = [Caller(), Caller()]
    callers[speaker] = Caller(A)
    floor, ear, mixed = Floor(*callers), Ear(), 0
    for caller in callers:
        caller.join(floor.mixer)
    callers[speaker].live.add_ear(ear, 48_000)
    for _ in range(20):
        floor.go(1)
        await asyncio.sleep(0)  # what was heard is handed over
        mixed += len(ear._waiting)
        ear._waiting.clear()
        assert callers[1 - speaker].leg.kinds().count("h") == mixed
    assert mixed > 15


# --- sums ---


def said(rate: Rate, *levels: int, listeners: int = 1) -> list[NDArray[np.int16]]:
    """Let one say each level, and others nothing; return what each is told."""
    mixer = Mixer(rate, None)
    participants = [Participant(mixer, WiredLeg()) for _ in range(len(levels) + listeners)]
    for participant in participants:
        mixer.enter(participant)
    for participant, level in zip(participants, [*levels, *[0] * listeners], strict=True):
        participant.say(np.full(rate // 50, level, np.int16).tobytes())
    told = [mixer.mixed_for(participant) for participant in participants]
    return [np.frombuffer(pcm or b"", np.int16) for pcm in told]


@pytest.mark.parametrize("rate", [48_000, 16_000])
@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ((20_000, 20_000), (20_000, 20_000, 32_767)),
        ((-20_000, -20_000), (-20_000, -20_000, -32_768)),
        ((30_000, 30_000, -30_000), (0, 0, 32_767, 30_000)),  # nothing was cut off before it was taken out again
        ((1, 2, 3), (5, 4, 3, 6)),
        ((-32_768, -32_768, -32_768), (-32_768, -32_768, -32_768, -32_768)),
    ],
)
def test_sums_are_exact_and_saturate(rate: Rate, levels: tuple[int, ...], told: tuple[int, ...]) -> None:
    heard = said(rate, *levels)
    assert [set(pcm.tolist()) for pcm in heard] == [{level} for level in told]
    assert {len(pcm) for pcm in heard} == {rate // 50}


# --- what is not done ---


async def test_who_is_alone_or_mixes_nothing_is_not_decoded_and_keeps_no_encoder() -> None:
    gc.collect()
    before = len(SpeechEncoder._all)
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    callers[0].join(floor.mixer)
    floor.go()
    assert [caller.leg.figures().played_ms for caller in callers] == [0, 0]
    assert [caller.leg.kinds() for caller in callers] == ["-" * 4] * 2
    assert len(SpeechEncoder._all) == before


async def test_where_all_are_silent_nothing_is_mixed_or_encoded() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(C))))
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    for caller in callers:
        caller.hums = None
    floor.go(2 * SECOND)  # a second of it is what the playout makes up
    already = [len(caller.told) for caller in callers]
    floor.go()
    assert [caller.leg.kinds(sent) for caller, sent in zip(callers, already, strict=True)] == ["-" * 4] * 3
    assert not floor.mixer._said


@pytest.mark.parametrize("listen_only", [False, True])
async def test_a_sound_ends_in_silence_and_is_not_torn_off(listen_only: bool) -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    callers[0].join(floor.mixer, listen_only=listen_only)
    callers[1].join(floor.mixer)
    floor.go()
    already = len(callers[0].told)
    callers[1].leave()
    floor.go(SECOND)
    assert callers[0].leg.kinds(already).rstrip("-") == "h" * ENDING_FRAMES
    decoder = OpusDecoder()
    for payload in callers[0].told[: already + ENDING_FRAMES]:
        decoder.decode(payload)
    made_up = np.frombuffer(b"".join(decoder.conceal() for _ in range(10)), np.int16)
    assert np.abs(made_up).max() < FAINT / 10, "the far side has nothing to go on with"


async def test_those_who_only_listen_share_one_encoder_as_long_as_their_peers_want_the_same() -> None:
    gc.collect()
    before = len(SpeechEncoder._all)
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller(), Caller(), Caller())))
    callers[4].leg.wishes = {"maxplaybackrate": 8_000}
    for caller in callers:
        caller.join(floor.mixer, listen_only=caller.hums is None)
    floor.go()
    one, other, another = (caller.told for caller in callers[2:])
    assert one == other
    assert len(another) == len(one)
    assert another[-1] != one[-1]
    assert [caller.hears() for caller in callers[2:]] == [{A, B}] * 3
    assert len(SpeechEncoder._all) == before + 4, "one for each who speaks, and two for the three"


async def test_the_encoder_they_share_is_prepared_for_the_worst_of_their_paths() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(), Caller(), Caller())))
    for caller, loss in zip(callers, (0.9, None, 0.2, 0.1), strict=True):
        caller.leg._reports.peer.fraction_lost = loss
        caller.join(floor.mixer, listen_only=caller.hums is None)
    floor.go()
    (encoder,) = floor.mixer._encoders.values()
    assert encoder._expected_loss == 0.2


async def test_a_call_that_spoke_before_counts_once_among_those_encoded() -> None:
    gc.collect()
    before = len(SpeechEncoder._all)
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    for caller in callers:
        caller.live.outbound.put(SOUND)
    floor.go(1)
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    assert len(SpeechEncoder._all) == before + len(callers)


def test_pauses_that_are_left_out_are_stamped_as_if_they_had_been_sent() -> None:
    mixer = Mixer(16_000, None)
    speaker, hearer = Participant(mixer, WiredLeg()), Participant(mixer, leg := WiredLeg(dtx=True))
    for participant in (speaker, hearer):
        mixer.enter(participant)
    frames = list(speech_and_pauses())
    for frame in frames:
        speaker.say(frame.pcm)
        hearer.say(None)
        hearer.tell()
    stamps = [packet.timestamp - leg.wire.kept[0][0].timestamp & 0xFFFFFFFF for packet, _ in leg.wire.kept]
    assert 60 < len(stamps) < 100
    assert stamps[-1] == 960 * (len(frames) - 1)


async def test_what_a_room_held_goes_with_those_who_leave() -> None:
    """Without the collector, which may not run for long."""
    gc.collect()
    before = len(SpeechEncoder._all)
    floor = Floor(*(callers := (Caller(A), Caller(B), Caller())))
    for caller in callers:
        caller.join(floor.mixer, listen_only=caller.hums is None)
    floor.go()
    gc.disable()
    try:
        for left, caller in enumerate(callers, 1):
            await caller.live.close()
            caller.participant = None
            assert len(SpeechEncoder._all) == before + len(callers) - left
    finally:
        gc.enable()


# --- beside what else a call does ---


async def test_a_clip_is_heard_in_place_of_the_room_and_by_nobody_else() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    already = [len(caller.told) for caller in callers]
    playing = asyncio.create_task(callers[0].live.play(WORDS))
    await asyncio.sleep(0)
    floor.go(20)
    await playing
    assert [caller.leg.kinds(sent) for caller, sent in zip(callers, already, strict=True)] == [
        "w" * len(WORDS) + "h" * 12,
        "h" * 20,
    ]
    floor.go()
    assert [caller.hears() for caller in callers] == [{B}, {A}]


async def test_a_call_that_is_closed_says_its_last_words_over_the_room() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    for caller in callers:
        caller.join(floor.mixer)
    floor.go()
    already = len(callers[0].told)
    callers[0].live.say_last_words(WORDS)
    floor.go()
    assert callers[0].leg.kinds(already).rstrip("-") == "w" * len(WORDS)
    assert callers[1].hears() == {A}


async def test_frames_of_the_handlers_are_dropped_in_a_room_and_its_own_speech_is_not_delayed_afterwards() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    callers[0].join(floor.mixer)
    for _ in range(20):
        callers[0].live.outbound.put(SOUND)
        floor.go(1)
    assert not callers[0].live.outbound
    assert callers[0].leg.kinds() == "-"
    callers[0].leave()
    assert [tick(callers[0].live, before=1) for _ in range(5)] == [1] * 5


async def test_a_call_is_in_one_room_at_a_time_and_not_in_a_bridge_beside() -> None:
    one, other, third = (Caller(hz) for hz in (A, B, C))
    room, another = Mixer(48_000, None), Mixer(48_000, None)
    one.join(room)
    for late in (another, room):
        with pytest.raises(RuntimeError, match="call c_440 is in a room already; leave it"):
            one.live.join(Participant(late, one.leg))
    for pair in ((one, other), (other, one)):
        with pytest.raises(RuntimeError, match="call c_440 is in a room already; leave it"):
            await pair[0].live.bridge(pair[1].live)
    bridging = asyncio.create_task(other.live.bridge(third.live))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="call c_620 is bridged already"):
        other.join(room)
    bridging.cancel()
    await asyncio.wait([bridging])
    other.join(room)


async def test_a_call_in_a_room_is_heard_at_the_rate_of_the_room() -> None:
    live, leg = line()
    ear, room = Ear(), Mixer(16_000, None)
    live.add_ear(ear, 48_000)
    with pytest.raises(ValueError, match="already heard at 48000 Hz"):
        live.join(Participant(room, leg))
    live.remove_ear(ear)
    live.join(Participant(room, leg))
    with pytest.raises(ValueError, match="already heard at 16000 Hz"):
        live.add_ear(ear, 48_000)
    live.add_ear(ear, 16_000)


async def test_who_listens_to_a_call_in_a_room_hears_that_call_alone() -> None:
    floor = Floor(*(callers := (Caller(A), Caller(B))))
    heard: list[tuple[Ear, Frame]] = []
    for caller in callers:
        caller.join(floor.mixer)
    callers[0].live.add_ear(Ear(), 48_000)
    for _ in range(2 * SECOND):
        floor.go(1)
    for caller in callers:
        caller.live.listen(heard)
    floor.go(SECOND)
    assert len(heard) == 1
    assert callers[1].hears() == {A}


def test_a_room_is_of_one_worker_and_says_so_to_the_calls_of_another() -> None:
    room, here, elsewhere = Room(), object(), object()
    assert mixer_of(room, here) is mixer_of(room, here)
    with pytest.raises(TypeError, match=r"another media worker.*MEDIA_PROCESSES=1"):
        mixer_of(room, elsewhere)


def test_a_room_has_a_rate_that_calls_can_have() -> None:
    wrong: Any = 8_000
    with pytest.raises(ValueError, match="48000 or 16000"):
        Room(wrong)
