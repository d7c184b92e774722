"""DTMF on a leg, against a stock aiortc peer that is told what it does not know: packets on real sockets, both ways."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiortc.rtp import RtpPacket as TheirPacket

from tests.integration.test_leg import LOOPBACK, OURS, THEIRS, Far, Notes, call, ticks, until
from workers.media import rtp
from workers.media.dtmf import Digit, DigitReader
from workers.media.leg import Leg
from workers.media.live_call import LiveCall

KEY_TICKS = 5


class Packets(Notes):
    """Keeps the packets, ours to read."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[rtp.RtpPacket] = []

    async def _handle_rtp_packet(self, packet: TheirPacket, arrival_time_ms: int) -> None:
        self.kept.append(
            rtp.RtpPacket(
                packet.ssrc,
                packet.payload_type,
                packet.sequence_number,
                packet.timestamp,
                bool(packet.marker),
                packet.payload,
            )
        )

    def numbers(self) -> list[int]:
        return [packet.sequence - self.kept[0].sequence & 0xFFFF for packet in self.kept]

    def stamps(self, *payload_types: int) -> list[int]:
        chosen = (packet for packet in self.kept if packet.payload_type in payload_types)
        return [packet.timestamp - self.kept[0].timestamp & 0xFFFFFFFF for packet in chosen]

    def read(self, payload_type: int, rate: int) -> str:
        reader, found = DigitReader(), ""
        for packet in self.kept:
            if packet.payload_type == payload_type:
                digits = reader.take(
                    packet.payload,
                    ssrc=packet.ssrc,
                    timestamp=packet.timestamp,
                    marker=packet.marker,
                    rate=rate,
                    at_s=0.0,
                )
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


@pytest.mark.parametrize("lost", [(), (22,), (21, 23), (24, 25, 26)], ids=["none", "one", "two", "its end"])
async def test_a_key_is_told_once_and_leaves_no_hole_in_the_sound(lost: tuple[int, ...]) -> None:
    async with call() as (leg, far):
        digits: list[Digit] = []
        leg.on_digit = digits.append
        pressed = dict(enumerate(key(5), 20))
        async for tick in ticks(60):
            if tick in lost:
                far.skip()
            elif tick in pressed:
                await far.send(pressed[tick], 20, payload_type=110)
            else:
                await far.send(THEIRS[tick], tick)
            leg.pull()
        figures = leg.figures()
        assert [digit.name for digit in digits] == ["5"]
        assert digits[0].duration_ms in {80, 100}
        assert figures.packets_lost == len(lost)
        after_it = len(set(lost) & {24, 25, 26})
        assert figures.concealed_ms <= 20 * after_it, "who knows what was lost between the key and the sound after it"


async def test_a_key_whose_end_is_lost_is_told_with_no_other_packet_to_wait_for() -> None:
    async with call() as (leg, far):
        digits: asyncio.Queue[Digit] = asyncio.Queue()
        leg.on_digit = digits.put_nowait
        await far.send(struct.pack("!BBH", 11, 10, 800), 0, payload_type=126)
        async with asyncio.timeout(2):
            assert await digits.get() == Digit("#", 100), "also of somebody whose voice was never heard"
        assert leg._next_look is None


async def test_events_are_passed_on_as_they_came_with_their_rate() -> None:
    async with call() as (leg, far):
        seen: list[tuple[bytes, int, bool, int]] = []
        leg.on_event = lambda *event: seen.append(event)
        payload = struct.pack("!BBH", 1, 0x8A, 800)
        await far.send(payload, 7, payload_type=126)
        await far.send(payload, 8, payload_type=110)
        await until(lambda: len(seen) == 2)
        assert seen == [(payload, 7 * 960, False, 8_000), (payload, 8 * 960, False, 48_000)]


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
        assert sorted(set(packets.stamps(chosen))) == [5 * 960, 12 * 960]
        assert packets.stamps(111)[:21] == [960 * tick for tick in (*range(5), 11, *range(18, 33))]


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
