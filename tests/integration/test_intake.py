"""The intake on real sockets and both event loops: what arrives, in which order, and what is left when it is over."""

import asyncio
import gc
import random
import socket
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import psutil
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.test_leg import until
from workers.media import intake
from workers.media.intake import IDLE_LOOKS, LOOK_EVERY_MS, MOST_EACH, STALE_MS, Datagrams, Intake
from workers.media.sockets import bind

Run = Callable[[Coroutine[Any, Any, None]], None]

on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class Mailbox(asyncio.DatagramProtocol):
    """Keeps what arrives at a socket of its own, and may do something about it."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.kept: list[bytes] = []
        self.errors: list[Exception] = []
        self.lost = False
        self.on_datagram: Callable[[bytes], object] = lambda data: None
        self.on_error: Callable[[], object] = lambda: None
        self.transport = Datagrams(bind(address, None), self)
        self.address = self.transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.kept.append(data)
        self.on_datagram(data)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)
        self.on_error()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def intake_here() -> Intake | None:
    return Intake.of_loop.get(asyncio.get_running_loop())


async def idle() -> Intake:
    """Wait until the intake leaves it to the loop to wake it."""
    here = intake_here()
    assert here is not None
    await until(lambda: here._next_look is None)
    return here


@on_both_loops
def test_every_socket_is_read_whether_the_intake_looks_or_sleeps(run: Run) -> None:
    async def scenario() -> None:
        boxes = [Mailbox() for _ in range(20)]
        for round_number in range(3):
            asleep = await idle()
            for sender, box in enumerate(boxes):
                box.transport.sendto(b"%d" % round_number, boxes[sender - 1].address)
            await until(lambda: all(len(box.kept) == round_number + 1 for box in boxes))  # noqa: B023  # awaited here
            assert asleep._next_look is not None, "more may come, and is looked for"
        assert {tuple(box.kept) for box in boxes} == {(b"0", b"1", b"2")}
        for box in boxes:
            box.transport.close()
        await until(lambda: all(box.lost for box in boxes))

    run(scenario())


@on_both_loops
def test_sockets_of_ipv6_are_read_beside_those_of_ipv4(run: Run) -> None:
    async def scenario() -> None:
        boxes = [Mailbox("::1"), Mailbox("::1"), Mailbox(), Mailbox()]
        for sender, box in zip((1, 0, 3, 2), boxes, strict=True):
            boxes[sender].transport.send_soon(b"here", box.address)
        await until(lambda: all(box.kept == [b"here"] for box in boxes))
        for box in boxes:
            box.transport.close()

    run(scenario())


async def test_a_look_that_brings_many_is_followed_by_a_longer_pause() -> None:
    boxes, out = [Mailbox() for _ in range(intake.MANY)], Mailbox()
    loop, pauses = asyncio.get_running_loop(), dict[bytes, list[float]]()

    def note(data: bytes) -> None:
        here = intake_here()
        assert here is not None
        assert here._next_look is not None
        pauses.setdefault(data, []).append(here._next_look.when() - loop.time())

    boxes[0].on_datagram = note
    for number in range(20):  # some may be measured late
        for name, group in ((b"few", boxes[:1]), (b"many", boxes)):
            with intake.batch():
                for box in group:
                    out.transport.send_soon(name, box.address)
            await until(lambda: len(pauses.get(name, ())) > number)  # noqa: B023  # awaited here
    few_ms, many_ms = (max(pauses[name]) * 1000 for name in (b"few", b"many"))
    assert few_ms <= LOOK_EVERY_MS[0] + 0.5 < many_ms <= LOOK_EVERY_MS[1] + 0.5, "by a clock of whole milliseconds"
    for box in (*boxes, out):
        box.transport.close()


@on_both_loops
def test_a_batch_is_sent_at_its_end_and_in_its_order(run: Run) -> None:
    async def scenario() -> None:
        box, one, other = Mailbox(), Mailbox(), Mailbox()
        with intake.batch():
            for number in range(6):
                (one, other)[number % 2].transport.send_soon(b"%d" % number, box.address)
                with intake.batch():  # within another: it is the outer one that sends
                    pass
            assert box.transport.receive() is None
            one.transport.sendto(b"at once", box.address)
            assert box.transport.receive() == (b"at once", one.address)
        assert [box.transport.receive() for _ in range(6)] == [
            (b"%d" % number, (one, other)[number % 2].address) for number in range(6)
        ]
        for mailbox in (box, one, other):
            mailbox.transport.close()

    run(scenario())


async def test_what_a_failing_batch_was_given_is_sent_all_the_same() -> None:
    box, out = Mailbox(), Mailbox()
    with suppress(ZeroDivisionError), intake.batch():
        out.transport.send_soon(b"before", box.address)
        raise ZeroDivisionError
    assert box.transport.receive() == (b"before", out.address)
    out.transport.send_soon(b"after", box.address)
    assert box.transport.receive() == (b"after", out.address), "no batch is under way any more"
    for mailbox in (box, out):
        mailbox.transport.close()


async def test_who_closes_within_a_batch_still_sends_and_who_aborts_does_not() -> None:
    box, closing, aborting, staying = Mailbox(), Mailbox(), Mailbox(), Mailbox()
    with intake.batch():
        aborting.transport.send_soon(b"withheld", box.address)
        staying.transport.send_soon(b"stays", box.address)
        aborting.transport.abort()
        closing.transport.send_soon(b"goodbye", box.address)
        closing.transport.close()
        assert not closing.transport.send_soon(b"too late", box.address)
        assert not aborting.transport.send_soon(b"too late", box.address)
        closing.transport.close()  # again, which does nothing
        closing.transport.abort()
    await until(lambda: len(box.kept) == 2)
    assert sorted(box.kept) == [b"goodbye", b"stays"]
    await until(lambda: closing.lost and aborting.lost)
    box.transport.close()
    staying.transport.close()


async def test_what_a_process_had_to_send_when_it_stood_still_is_not_sent_when_it_wakes() -> None:
    one, other = Mailbox(), Mailbox()
    with intake.batch():
        one.transport.send_soon(b"stale", other.address)
        time.sleep(STALE_MS / 1000 + 0.05)  # noqa: ASYNC251  # as if it were stopped
    with intake.batch():
        one.transport.send_soon(b"fresh", other.address)
    await until(lambda: bool(other.kept))
    assert other.kept == [b"fresh"]
    one.transport.close()
    other.transport.close()


async def test_whether_we_may_send_is_asked_once_a_batch_and_outside_of_one_each_time() -> None:
    box, answers = Mailbox(), iter([False, True, False, True])
    may_send = intake.once_a_batch(lambda: next(answers))
    assert [may_send(), may_send()] == [False, True]
    for answer in (False, True):
        with intake.batch():
            with intake.batch():  # within another, which sends
                assert may_send() is answer
            assert may_send() is answer
    assert next(answers, None) is None
    box.transport.close()


@on_both_loops
def test_one_readers_trouble_is_reported_and_the_others_are_read(run: Run) -> None:
    async def scenario() -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        boxes, out = [Mailbox() for _ in range(3)], Mailbox()

        def fail(data: bytes = b"") -> None:
            raise RuntimeError("trouble")

        boxes[0].on_datagram = boxes[1].on_error = fail
        for number in range(2):
            for box in boxes:
                out.transport.sendto(b"%d" % number, box.address)
        await until(lambda: all(len(box.kept) == 2 for box in boxes))
        assert [str(report["exception"]) for report in reports] == ["trouble"] * 2
        assert {report["transport"] for report in reports} == {boxes[0].transport}
        for box in (*boxes, out):
            box.transport.close()

    run(scenario())


@on_both_loops
def test_what_icmp_tells_of_one_socket_disturbs_no_other_even_if_its_reader_cannot_bear_it(run: Run) -> None:
    async def scenario() -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        gone = bind("127.0.0.1", None)
        nowhere = gone.getsockname()
        gone.close()
        unlucky, lucky, out = Mailbox(), Mailbox(), Mailbox()
        report_errors(unlucky)

        def fail() -> None:
            raise RuntimeError("trouble")

        unlucky.on_error = fail
        await idle()
        out.transport.sendto(b"1", lucky.address)
        unlucky.transport.sendto(b"anybody?", nowhere)
        out.transport.sendto(b"2", unlucky.address)
        await until(lambda: lucky.kept == [b"1"] and unlucky.kept == [b"2"])
        assert [type(error) for error in unlucky.errors] == [ConnectionRefusedError]
        assert [str(report["exception"]) for report in reports] == ["trouble"]
        for box in (unlucky, lucky, out):
            box.transport.close()

    run(scenario())


def report_errors(box: Mailbox) -> None:
    """Have the kernel tell an unconnected socket of ICMP errors (ip(7), IP_RECVERR)."""
    box.transport._socket.setsockopt(socket.IPPROTO_IP, 11, 1)


@on_both_loops
def test_a_socket_closed_by_the_one_before_it_in_the_same_look_hears_nothing(run: Run) -> None:
    async def scenario() -> None:
        boxes, out = [Mailbox() for _ in range(4)], Mailbox()

        def close_the_rest(data: bytes) -> None:
            for box in boxes:
                if not box.kept:
                    box.transport.close()

        for box in boxes:
            box.on_datagram = close_the_rest
        await idle()
        with intake.batch():
            for box in boxes:
                out.transport.send_soon(b"1", box.address)
        await until(lambda: sum(box.lost for box in boxes) == 3)
        assert sum(len(box.kept) for box in boxes) == 1
        for box in (*boxes, out):
            box.transport.close()

    run(scenario())


@on_both_loops
def test_the_last_socket_may_close_in_its_own_handler_and_the_next_one_open_there(run: Run) -> None:
    async def scenario() -> None:
        box, out = Mailbox(), bind("127.0.0.1", None)
        opened: list[Mailbox] = []

        def move(data: bytes) -> None:
            box.transport.close()
            assert intake_here() is None
            opened.append(Mailbox())
            with intake.batch():
                opened[0].transport.send_soon(b"moved", out.getsockname())

        box.on_datagram = move
        out.sendto(b"1", box.address)
        out.sendto(b"2", box.address)
        await until(lambda: box.lost)
        assert out.recvfrom(100) == (b"moved", opened[0].address)
        out.sendto(b"3", opened[0].address)
        await until(lambda: opened[0].kept == [b"3"])
        assert box.kept == [b"1"]
        opened[0].transport.abort()
        assert intake_here() is None
        again = Mailbox()
        out.sendto(b"4", again.address)
        await until(lambda: again.kept == [b"4"])
        again.transport.close()
        out.close()

    run(scenario())


async def test_who_closes_while_more_waits_for_it_is_told_nothing_but_that() -> None:
    box, out = Mailbox(), Mailbox()

    def go_on(data: bytes) -> None:
        if data == b"first":  # a socket that has something in two looks in a row is asked for more in the second
            for number in range(MOST_EACH):
                out.transport.sendto(b"%d" % number, box.address)
        else:
            box.transport.close()

    box.on_datagram = go_on
    out.transport.sendto(b"first", box.address)
    await until(lambda: box.lost)
    await idle()
    assert (box.kept, box.errors) == ([b"first", b"0"], [])
    out.transport.close()


@on_both_loops
def test_a_flood_on_one_socket_keeps_no_other_from_being_read(run: Run) -> None:
    """As long as it lasts: the flooded one has its share of a look, and the loop its turns between them."""

    async def scenario() -> None:
        flooded, calm, out = Mailbox(), Mailbox(), bind("127.0.0.1", None)
        order: list[str] = []
        flooded.on_datagram = lambda data: order.append("flood")
        calm.on_datagram = lambda data: order.append("calm")
        await idle()
        for _ in range(200):
            out.sendto(b"flood", flooded.address)
        out.sendto(b"calm", calm.address)
        await until(lambda: bool(calm.kept))
        assert order.index("calm") <= 1
        here, turns = intake_here(), 0
        assert here is not None
        while len(flooded.kept) < 200:
            before = len(flooded.kept)
            await asyncio.sleep(0)
            assert len(flooded.kept) - before <= MOST_EACH
            turns += 1
        assert turns >= 200 / MOST_EACH
        flooded.transport.close()
        calm.transport.close()
        out.close()

    run(scenario())


async def test_no_datagram_is_too_long_to_be_survived() -> None:
    box, out = Mailbox(), bind("127.0.0.1", None)
    out.sendto(bytes(20_000), box.address)
    out.sendto(b"", box.address)
    out.sendto(b"next", box.address)
    await until(lambda: len(box.kept) == 3)
    assert [len(data) for data in box.kept] == [intake.LARGEST_BYTES, 0, 4]
    box.transport.close()
    out.close()


async def test_what_cannot_be_sent_is_lost_and_the_rest_of_the_batch_is_not() -> None:
    box, out = Mailbox(), Mailbox()
    with intake.batch():
        assert out.transport.send_soon(bytes(70_000), box.address), "no datagram is that long"
        assert out.transport.send_soon(b"fits", box.address)
    out.transport.sendto(bytes(70_000), box.address)
    await until(lambda: box.kept == [b"fits"])
    for mailbox in (box, out):
        mailbox.transport.close()


@on_both_loops
def test_nothing_is_left_of_a_loop_whose_sockets_are_closed(run: Run) -> None:
    def live_through() -> "weakref.ref[asyncio.AbstractEventLoop]":
        loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

        async def scenario() -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            boxes = [Mailbox() for _ in range(3)]
            for box in boxes:
                boxes[0].transport.sendto(b"1", box.address)
            await until(lambda: all(box.kept for box in boxes))
            for box, end in zip(boxes, (Datagrams.close, Datagrams.abort, Datagrams.close), strict=True):
                end(box.transport)
            await until(lambda: all(box.lost for box in boxes))

        run(scenario())
        return loops[0]

    live_through()
    gc.collect()
    before = psutil.Process().num_fds()
    loops = [live_through() for _ in range(5)]
    gc.collect()
    assert [loop() for loop in loops] == [None] * 5
    assert psutil.Process().num_fds() <= before


async def test_after_looks_in_vain_the_loop_is_left_to_wake_the_intake_however_often() -> None:
    box = Mailbox()
    for number in range(1, 4):
        box.transport.sendto(b"1", box.address)
        await until(lambda: len(box.kept) == number)  # noqa: B023  # awaited here
        assert (await idle())._vain > IDLE_LOOKS
    box.transport.close()


SOCKETS = 4


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, SOCKETS - 1), st.integers(0, SOCKETS - 1)), max_size=20),
        max_size=6,
    ),
    st.sampled_from([asyncio.run, uvloop.run]),
    st.randoms(use_true_random=False),
)
def test_whatever_is_sent_in_batches_arrives_once_and_in_order(
    batches: list[list[tuple[int, int]]], run: Run, chance: random.Random
) -> None:
    """Whether handlers answer within the look that woke them or not: per pair of sockets, order is order."""
    sent: dict[tuple[int, int], list[bytes]] = {}

    async def scenario() -> None:
        boxes = [Mailbox() for _ in range(SOCKETS)]
        by_address = {box.address: place for place, box in enumerate(boxes)}
        got: dict[tuple[int, int], list[bytes]] = {}
        number = 0

        def post(sender: int, receiver: int, kind: bytes) -> None:
            nonlocal number
            number += 1
            data = b"%s %d %d" % (kind, sender, number)
            sent.setdefault((sender, receiver), []).append(data)
            assert boxes[sender].transport.send_soon(data, boxes[receiver].address)

        def handle(receiver: int) -> Callable[[bytes], None]:
            def take(data: bytes) -> None:
                kind, sender, _ = data.split()
                got.setdefault((int(sender), receiver), []).append(data)
                if kind == b"ask":
                    post(receiver, int(sender), b"answer")

            return take

        for place, box in enumerate(boxes):
            box.on_datagram = handle(place)
        assert len(by_address) == SOCKETS
        for group in batches:
            with intake.batch():
                for sender, receiver in group:
                    post(sender, receiver, chance.choice([b"ask", b"tell"]))
            with suppress(IndexError):
                await asyncio.sleep(chance.choice([0, 0.002]))
        await until(lambda: sum(map(len, got.values())) >= sum(map(len, sent.values())))
        await asyncio.sleep(0.005)  # would anything come twice?
        assert got == sent
        for box in boxes:
            box.transport.close()

    run(scenario())
