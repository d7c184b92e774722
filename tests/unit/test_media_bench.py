"""The load of the media bench: what it calls held, how it finds an echo, and that what it says to a peer is right."""

import socket
import time
from typing import Any

import numpy as np
import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from pageline.bench.bots.interruptions import silent_after_ms
from pageline.bench.media import delay, ice_lite, secured, speech
from pageline.bench.media.arrivals import Arrivals, Flow, flow
from pageline.bench.media.datagrams import Incoming, Outgoing, listen
from pageline.bench.media.delay import Timed
from pageline.bench.media.most import next_to_try
from pageline.bench.media.table import rows
from pageline.bench.media.wheel import Losses
from workers.media.opus import OpusDecoder, OpusEncoder

SECONDS = 20
EVERY_NS = 20_000_000


def received(*, late_ms: dict[int, int] | None = None, lost: frozenset[int] = frozenset()) -> Flow:
    """Judge a call of twenty seconds, of whose packets some were late and some never came."""
    numbers = [number for number in range(SECONDS * 50) if number not in lost]
    at_ns = [number * EVERY_NS + (late_ms or {}).get(number, 0) * 1_000_000 for number in numbers]
    order = np.argsort(at_ns, kind="stable")
    return flow(1, np.array(numbers, np.uint16)[order], np.array(at_ns, np.int64)[order], SECONDS)


def test_a_call_that_hears_every_packet_in_time_is_held() -> None:
    assert received() == Flow(1, 1000, 0.0, 20.0, 20.0)
    assert received().held


def test_nine_packets_of_a_thousand_may_be_missing_and_ten_may_not() -> None:
    assert received(lost=frozenset(range(100, 1000, 100))).held
    assert not received(lost=frozenset(range(0, 1000, 100))).held


def stalls(every: int) -> dict[int, int]:
    """Return how late packets are that wait for 80 ms behind one another, once in so many packets."""
    return {start + number: 80 - 20 * number for start in range(10, 990, every) for number in range(4)}


def test_a_stall_now_and_then_is_borne_and_one_a_second_is_not() -> None:
    assert received(late_ms=stalls(490)).max_gap_ms == 100
    assert received(late_ms=stalls(490)).held
    assert not received(late_ms=stalls(50)).held


def test_a_packet_that_comes_twice_makes_up_for_none_that_is_missing() -> None:
    sequences = np.array([*range(500), *range(500)], np.uint16)
    assert flow(1, sequences, np.arange(1000) * EVERY_NS, SECONDS).missing == 0.5


def test_a_call_that_hears_nothing_is_not_held() -> None:
    assert not flow(1, np.array([], np.uint16), np.array([], np.int64), SECONDS).held


def test_packets_of_many_calls_are_told_apart() -> None:
    arrivals = Arrivals(4)  # it grows
    for number in range(100):
        calls = np.array([7, 3], np.uint32)
        arrivals.add(calls, np.array([number, number + 9], np.uint16), np.array([number, number]) * EVERY_NS)
    assert [(each.call, each.packets) for each in arrivals.flows([3, 5, 7], 2)] == [(3, 100), (5, 0), (7, 100)]


@given(holds=st.integers(2, 2000), first=st.integers(2, 600))
def test_the_number_held_is_found_within_a_twelfth(holds: int, first: int) -> None:
    held, failed, looks = 0, None, 0
    while (tried := next_to_try(first, held, failed)) is not None:
        looks += 1
        held, failed = (tried, failed) if tried <= holds else (held, tried)
    assert held <= holds
    assert failed is not None
    assert failed - held <= max(2, held / 12)
    assert looks <= 40


def said(*, from_ns: int = 0, again: bool = False) -> list[Timed]:
    """Return four seconds of speech as it arrives in packets; `again` is encoded a second time, as an echo is."""
    decoder, encoder, second = OpusDecoder(speech.RATE), OpusEncoder(speech.RATE), OpusDecoder(speech.RATE)
    packets = []
    for number, payload in enumerate(speech.words(5)):
        pcm = decoder.decode(payload)
        if again:
            pcm = second.decode(encoder.encode(pcm))
        packets.append(Timed(from_ns + number * EVERY_NS, np.frombuffer(pcm, np.int16) / 32768))
    return packets


@pytest.mark.parametrize("late_ms", [5, 57, 800])
def test_an_echo_is_as_late_as_it_is(late_ms: int) -> None:
    delays_ms = delay.echo_delays_ms(SENT, said(from_ns=late_ms * 1_000_000))
    assert delays_ms == pytest.approx([late_ms] * 4, abs=1)


def test_an_echo_that_lies_later_in_its_packets_is_later() -> None:
    sound = np.concatenate([np.zeros(250), *(packet.sound for packet in SENT)])
    heard = [
        Timed(packet.at_ns, sound[at : at + speech.FRAME])
        for packet, at in zip(SENT, range(0, len(sound), speech.FRAME), strict=False)
    ]
    assert delay.echo_delays_ms(SENT, heard) == pytest.approx([250 / 16] * 4, abs=0.2)


def test_an_encoder_s_look_ahead_counts() -> None:
    delays_ms = delay.echo_delays_ms(SENT, said(from_ns=30_000_000, again=True))
    assert len(delays_ms) == 4
    assert all(33 < delay_ms < 42 for delay_ms in delays_ms)


def test_silence_is_no_echo() -> None:
    silence = [Timed(packet.at_ns, np.zeros_like(packet.sound)) for packet in SENT]
    assert delay.echo_delays_ms(SENT, silence) == []
    assert delay.first_sound_ns(silence) is None


def test_the_first_sound_is_not_the_first_packet() -> None:
    silence = [Timed(number, np.zeros(speech.FRAME)) for number in range(5)]
    assert delay.first_sound_ns([*silence, *said(from_ns=1000)]) == 1000


def test_the_same_packets_are_lost_again() -> None:
    lines = [Losses(0.2, seed=3) for _ in range(2)]
    fates = [[line.delay_ns() for _ in range(2000)] for line in lines]
    assert fates[0] == fates[1]
    assert sum(fate is None for fate in fates[0]) == pytest.approx(400, rel=0.15)
    assert np.mean([fate for fate in fates[0] if fate is not None]) == pytest.approx(15e6, rel=0.1)


def test_a_check_is_answered_as_aioice_wants_it() -> None:
    name = socket.AF_INET.to_bytes(2, "little") + (40007).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes["USERNAME"] = "EbT4cXksCyVKQMC/0003:abcd"
    request.add_message_integrity(b"secret")
    assert ice_lite.local_name_in(bytes(request)) == "EbT4cXksCyVKQMC/0003"
    reply = stun.parse_message(ice_lite.response(bytes(request), name, b"secret"))
    assert reply.check_message_integrity(b"secret")
    assert reply.message_class is stun.Class.RESPONSE
    assert reply.transaction_id == request.transaction_id
    assert reply.attributes["XOR-MAPPED-ADDRESS"] == ("127.0.0.1", 40007)


def test_both_sides_of_a_handshake_have_the_same_keys() -> None:
    ours, theirs = secured.Handshake(secured.Identity()), SSL.Connection(secured.Identity().context)
    theirs.set_connect_state()
    waiting: list[bytes] = []
    for _ in range(10):
        for datagram in waiting:
            theirs.bio_write(datagram)
        try:
            theirs.do_handshake()
        except SSL.WantReadError:
            pass
        else:
            break
        waiting = ours.take(theirs.bio_read(1500))
    assert ours.keys is not None
    material = theirs.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
    policy = secured.Policy(
        key=material[:16] + material[32:46],
        ssrc_type=secured.Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=secured.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    )
    packet = bytes([0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]) + b"payload"
    assert ours.keys[1].unprotect(secured.Session(policy).protect(packet)) == packet


def test_datagrams_arrive_whole_with_the_time_of_their_arrival() -> None:
    with listen("127.0.0.1") as far, listen("127.0.0.1") as near:
        port = far.getsockname()[1]
        name = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
        before_ns = time.time_ns()
        outgoing, incoming = Outgoing(near, capacity=4), Incoming(far)
        sent = [bytes([number]) * (number + 1) for number in range(10)]
        for datagram in sent:
            outgoing.put(datagram, name)
        outgoing.send()
        assert incoming.receive() == 10
        assert [incoming.data[row, : incoming.bytes[row]].tobytes() for row in range(10)] == sent
        assert set(incoming.ports[:10]) == {near.getsockname()[1]}
        stamps_ns = incoming.stamps_ns[:10, 0] * 10**9 + incoming.stamps_ns[:10, 1]
        assert before_ns - 10**7 < stamps_ns.min() <= stamps_ns.max() < time.time_ns() + 10**7
        assert incoming.receive() == 0


def report(*, pion: bool) -> dict[str, Any]:
    """Return the whole bench's report, as far as the table reads it."""
    held = {"answer": 60, "forward": 280, "bridge": 300, "listen": 500}
    costs = {"pageline": [40, 42], "stock": [90, 99], **({"pion": [41, 42]} if pion else {})}
    return {
        "held": [{"stack": "pageline", "mode": mode, "held": calls} for mode, calls in held.items()],
        "cost": [
            {
                "stack": stack,
                "mode": mode,
                "cpu_us_per_packet_slot": costs[stack],
                "rss_per_call_bytes": [310_000, 290_000],
            }
            for mode in ("forward", "answer")
            for stack in costs
        ],
        "echo_delay": [{"stack": "pageline", "echo_delay_p95_ms": 55.0}, {"stack": "stock"}],
        "echo_delay_under_load": [{"stack": "pageline", "echo_delay_p95_ms": 61.2}],
        "missing_speech": {
            "pageline": {"0": 0.0, "5": 0.011, "10": 0.03, "20": 0.079},
            "stock": {"5": 0.21},
            "made_up": {"0": 0.0, "5": 0.02, "10": 0.04, "20": 0.1},
        },
        "greetings": [{"stack": "pageline", "mode": "answer", "p50_ms": 44.0, "p99_ms": 70.0}],
    }


def test_the_table_says_which_aims_were_met() -> None:
    verdicts = {row.figure: row.met for row in rows(report(pion=True))}
    assert [figure for figure, met in verdicts.items() if met is False] == [
        "undecoded echo held",
        "the same with as many as are held",
        "speech missing at 5 % loss, %",
    ]
    assert verdicts["CPU us per packet slot, undecoded"]
    assert verdicts["speech missing at 20 % loss, %"]


def test_without_pion_nothing_is_said_about_it() -> None:
    (cost,) = (row for row in rows(report(pion=False)) if row.figure == "CPU us per packet slot, undecoded")
    assert cost.met is None
    assert cost.values == {"pageline": "40 / 42", "stock": "90 / 99"}


SENT = said()


def test_a_silence_is_timed_from_the_word_to_the_end_of_the_last_packet_that_is_heard() -> None:
    loud, quiet = np.full(960, 0.2), np.zeros(960)
    heard = [Timed(tick * 20_000_000, loud if tick < 10 else quiet) for tick in range(30)]
    assert silent_after_ms([175_000_000], heard) == [25.0]
    assert silent_after_ms([400_000_000], heard) == [0.0], "it was over before"
    assert silent_after_ms([5_000_000_000], heard) == [], "nothing was said for long"
