"""DTMF on a leg, against a stock aiortc peer that is told what it does not know: packets on real sockets, both ways."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from aiortc.rtp import RtpPacket as TheirPacket

from tests.integration.test_leg import LOOPBACK, OURS, THEIRS, Far, Notes, call, ticks, until
from workers.media.dtmf import Digit, DigitReader
from workers.media.leg import Leg
from workers.media.live_call import LiveCall

KEY_TICKS = 5


class Packet(NamedTuple):
    payload_type: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes


class Packets(Notes):
    """Keeps the packets."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Packet] = []

    async def _handle_rtp_packet(self, packet: TheirPacket, arrival_time_ms: int) -> None:
        numbers = packet.payload_type, packet.sequence_number, packet.timestamp
        self.kept.append(Packet(*numbers, bool(packet.marker), packet.payload))

    def numbers(self) -> list[int]:
        return [packet.sequence - self.kept[0].sequence & 0xFFFF for packet in self.kept]

    def stamps(self, *payload_types: int) -> list[int]:
        chosen = (packet for packet in self.kept if packet.payload_type in payload_types)
        return [packet.timestamp - self.kept[0].timestamp & 0xFFFFFFFF for packet in chosen]

    def read(self, payload_type: int, rate: int) -> str:
        reader, found = DigitReader(), ""
        for packet in self.kept:
            if packet.payload_type == payload_type:
                digits = reader.take(packet.payload, 1, packet.timestamp, rate, 0.0, marker=packet.marker)
                found += "".join(digit.name for digit in digits)
        return found


@asynccontextmanager
async def call_that_takes(events: dict[int, int]) -> AsyncIterator[tuple[LiveCall, Packets]]:
    """Connect with a peer whose answer has these event payload types, and keep what it receives."""
    leg, far = Leg(addresses=LOOPBACK), Far()
    try:
        answer = await far.answer(await leg.offer())
        lines = "".join(f"a=rtpmap:{number} telephone-event/{rate}\r\n" for number, rate in events.items())
        numbers = "".join(f" {number}" for number in events)
        await leg.apply(answer.replace("SAVPF 111", f"SAVPF 111{numbers}") + lines, None)
        await leg.connected()
        await far.connected()
        packets, router = Packets(), far.dtls._rtp_router
        router.register_receiver(packets, ssrcs=list(router.ssrc_table), payload_types=[110, 111, 126])
        yield LiveCall(leg), packets
    finally:
        await leg.close()
        await far.pc.close()


def key(code: int, ticks: Iterable[int] = range(KEY_TICKS)) -> list[bytes]:
    """Return the payloads of a key held for 100 ms at 48 kHz, and two more of its end."""
    payloads = [struct.pack("!BBH", code, 10, 960 * (tick + 1)) for tick in ticks]
    end = struct.pack("!BBH", code, 0x80 | 10, 960 * KEY_TICKS)
    return [*payloads[:-1], end, end, end]


@pytest.mark.parametrize("lost", [(), (8,), (9, 11), (12, 13, 14)], ids=["none", "first", "two", "its end"])
async def test_a_key_is_told_once_and_is_no_hole_in_the_sound(lost: tuple[int, ...]) -> None:
    async with call() as (leg, far):
        digits: asyncio.Queue[Digit] = asyncio.Queue()
        leg.on_digit = digits.put_nowait
        assert leg.pull() is None
        pressed = dict(enumerate(key(5), 8))
        for number in range(20):
            if number in lost:
                far.skip()
            elif number in pressed:
                await far.send(pressed[number], 8, payload_type=110)
            else:
                await far.send(THEIRS[number], number)
        await until(lambda: leg.figures().packets_received == 20 - len(lost))
        for _ in range(18):  # all is here, so that no clock matters
            leg.pull()
        at_an_edge = len({8, 12, 13, 14} & set(lost))
        figures = leg.figures()
        assert figures.packets_lost == len(lost)
        assert figures.concealed_ms <= 20 * at_an_edge, "between sound and key nobody knows what was lost"
        async with asyncio.timeout(2):
            assert (await digits.get()).name == "5"
        assert digits.empty()


async def test_a_key_whose_end_is_lost_is_told_with_no_other_packet_to_wait_for() -> None:
    async with call() as (leg, far):
        digits: asyncio.Queue[Digit] = asyncio.Queue()
        leg.on_digit = digits.put_nowait
        await far.send(struct.pack("!BBH", 11, 10, 800), 0, payload_type=126)
        async with asyncio.timeout(2):
            assert await digits.get() == Digit("#", 100), "also of somebody whose voice was never heard"
        assert leg._keys._next_look is None, "no timer runs while no key is down"


async def test_keys_of_one_leg_are_passed_on_to_another_in_its_own_terms() -> None:
    async with call() as (leg, far), call_that_takes({126: 8_000}) as (other, packets):
        leg.forward(other.leg)
        async for tick in ticks(20):
            if 8 <= tick < 8 + KEY_TICKS + 2:
                await far.send(key(9)[tick - 8], 8, payload_type=110)
            else:
                await far.send(THEIRS[tick], tick)
        await until(lambda: len(packets.kept) == 20)
        assert packets.read(126, 8_000) == "9"
        assert packets.numbers() == list(range(20))
        assert packets.stamps(126) == [8 * 960] * (KEY_TICKS + 2)
        assert packets.stamps(111) == [960 * tick for tick in (*range(8), *range(15, 20))]
        assert [packet.payload for packet in packets.kept if packet.payload_type == 126][-1] == b"\x09\x8a\x03\x20"


@pytest.mark.parametrize(
    ("events", "chosen", "rate"),
    [({126: 8_000, 110: 48_000}, 110, 48_000), ({126: 8_000}, 126, 8_000)],
    ids=["48 kHz is preferred", "8 kHz if it must be"],
)
async def test_keys_take_the_place_of_the_prompt_which_goes_on_after_them(
    events: dict[int, int], chosen: int, rate: int
) -> None:
    async with call_that_takes(events) as (live, packets):
        playing = asyncio.create_task(live.play(OURS[:20]))
        await asyncio.sleep(0)
        pressing: asyncio.Task[None] | None = None
        async for tick in ticks(45):
            if tick == 5:
                pressing = asyncio.create_task(live.send_digits("4#", duration_ms=80, gap_ms=60))
                await asyncio.sleep(0)
            live.tick([])
        assert pressing is not None
        await asyncio.gather(playing, pressing)
        await until(lambda: len(packets.kept) >= 34)
        assert packets.read(chosen, rate) == "4#"
        assert {packet.payload_type for packet in packets.kept} == {111, chosen}
        assert packets.numbers() == list(range(len(packets.kept)))
        assert [packet.payload for packet in packets.kept if packet.payload_type == 111][:5] == list(OURS[:5])
        assert [packet.payload for packet in packets.kept][19:34] == list(OURS[5:20])
        first, second = sorted(set(packets.stamps(chosen)))
        assert second - first >= 7 * 960, "more where the machine stood still"
        assert packets.stamps(chosen) == [first] * 6 + [second] * 6
        assert packets.stamps(111)[7] - second >= 7 * 960


async def test_keys_pressed_for_one_of_two_bridged_calls_take_the_place_of_what_the_other_says() -> None:
    async with call() as (leg, far), call_that_takes({126: 8_000}) as (live, packets):
        bridging = asyncio.create_task(LiveCall(leg).bridge(live))
        pressing: asyncio.Task[None] | None = None
        async for tick in ticks(40):
            if tick == 10:
                pressing = asyncio.create_task(live.send_digits("7"))
            await far.send(THEIRS[tick], tick)
            live.tick([])
        assert pressing is not None
        await pressing
        await until(lambda: packets.kept[-1].payload == THEIRS[39])
        assert packets.read(126, 8_000) == "7"
        kinds = "".join("k" if packet.payload_type == 126 else "s" for packet in packets.kept)
        assert kinds.count("k" * (KEY_TICKS + 2)) == 1, "nothing comes between the packets of a key"
        assert packets.numbers() == list(range(len(packets.kept)))
        assert kinds.endswith("s" * 5)
        bridging.cancel()


async def test_a_peer_without_telephone_events_is_not_sent_any() -> None:
    async with call_that_takes({}) as (live, _):
        assert live.leg.event_rate is None
        with pytest.raises(RuntimeError, match="takes no digits"):
            await live.send_digits("1")
        with pytest.raises(ValueError, match="'!'"):
            await live.send_digits("1!")


async def test_whoever_waits_for_keys_to_be_sent_is_released_when_the_call_closes() -> None:
    async with call_that_takes({126: 8_000}) as (live, _):
        pressing = asyncio.create_task(live.send_digits("1"))
        await asyncio.sleep(0)
        await live.close()
        with pytest.raises(asyncio.CancelledError):
            await pressing
