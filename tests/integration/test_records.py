"""Records of ended calls on a real Valkey: each sink is told of every call, whoever dies or fails meanwhile."""

import asyncio
import base64
import hmac
import multiprocessing
import sqlite3
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from pageline import dead
from shared.bus import PREFIX, Bus
from shared.calls import facts
from shared.calls.record import Record
from shared.ended import ENDED, Ended, Pauses
from shared.parent import tied
from shared.pseudonyms import pseudonym
from shared.records.addresses import read_addresses
from shared.records.columns import COLUMNS
from shared.records.opening import open_sinks
from shared.records.sink import Removed, Sink, SinkFailed
from shared.settings import load
from shared.wire import Wire
from tests.integration.graph_server import DONE, Reply, Server
from workers.action import letters
from workers.action.desk import Desk
from workers.action.graph import Graph
from workers.action.records import AT_A_TIME, Courier, Terms

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = "106378625516323"
PSID: Final = "5275811702471834"
SECRET: Final = "whsec_" + base64.b64encode(b"a key of ours").decode()
AT_ONCE: Final = Pauses(first_ms=0, longest_ms=0)


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


async def a_call(bus: Bus, call_id: str = "c_1", consumer: str = PSID) -> None:
    """Ring, be answered, end, and be closed by its owner."""
    now_ms = await bus.beat("one", lease_ms=60_000, capacity=100, join=True)
    arrived = facts.Arrived(
        page=PAGE, consumer=consumer, direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(call_id, arrived, identity="connect")
    await bus.route(call_id, facts.HandlerStarted(handler="shop:reception", epoch=1))
    await bus.route(call_id, facts.OfferMade(sdp="v=0", epoch=1))
    await bus.route(call_id, facts.AnswerReceived(sdp="v=0", epoch=1))
    await bus.route(call_id, facts.LegConnected(setup_ms=80, epoch=1))
    await bus.route(call_id, facts.RecordingStarted(path="/recordings/c_1-1.opus", epoch=1))
    await bus.route(call_id, facts.Terminated(status="completed"), identity="terminate")
    await bus.route(call_id, facts.LegClosed(packets_received=50, jitter_ms=4.0, epoch=1))
    await bus.done(call_id, "one", 1, "completed")


def courier(bus: Bus, sink: Sink, *, pauses: Pauses = AT_ONCE, tries: int = 3, with_psid: bool = False) -> Courier:
    return Courier(sink, bus, Ended(bus.wire, pauses), Terms(with_psid=with_psid, tries=tries))


@asynccontextmanager
async def sink_at(url: str) -> AsyncIterator[Sink]:
    (sink,) = open_sinks(read_addresses((url,)), secret=SECRET)
    yield sink
    await sink.close()


class Moody:
    """A sink that keeps what it takes, unless it is told to fail."""

    def __init__(self, name: str = "moody", *, fails: int = 0) -> None:
        self.name = name
        self.fails = fails
        self.asked = 0
        self.kept: list[Record] = []

    async def take(self, record: Record) -> None:
        self.asked += 1
        if self.asked <= self.fails:
            raise SinkFailed("it is in a mood")
        self.kept.append(record)

    async def remove(self, consumers: frozenset[str]) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_every_sink_is_told_of_every_call_once_where_nothing_fails(bus: Bus) -> None:
    one, two = Moody("one"), Moody("two")
    for number in range(20):
        await a_call(bus, f"c_{number}")
    for _ in range(5):
        await courier(bus, one).round()
    assert [record.call_id for record in one.kept] == [f"c_{number}" for number in range(20)]
    assert await Ended(bus.wire).waiting() == {"one": 0}
    await courier(bus, two).round()
    assert len(two.kept) == AT_A_TIME  # new here, it is given what is still kept, a few at a time
    assert await Ended(bus.wire).waiting() == {"one": 0, "two": 20 - AT_A_TIME}


async def test_what_a_process_took_and_died_with_another_one_delivers_once_the_pause_is_over(bus: Bus) -> None:
    sink = Moody()
    await a_call(bus)
    (taken,) = await Ended(bus.wire).take(sink.name, most=10)  # and no more is heard of it
    assert taken.call_id == "c_1"
    assert await courier(bus, sink, pauses=Pauses(first_ms=60_000)).round() == (0, 0)
    assert await courier(bus, sink).round() == (1, 0)
    assert [record.call_id for record in sink.kept] == ["c_1"]
    assert await courier(bus, sink).round() == (0, 0)


class Deaf(Moody):
    """A sink that is being told, and never done with it."""

    async def take(self, record: Record) -> None:
        print("telling", record.call_id, flush=True)
        await asyncio.Event().wait()


async def deliver_to_the_deaf(redis_url: str) -> None:
    """Do what an action worker does, for ever."""
    async with Wire.from_url(redis_url) as wire:
        await courier(Bus(wire), Deaf(), pauses=Pauses()).run()


async def test_a_process_that_is_killed_while_it_delivers_takes_no_record_along(bus: Bus, redis_url: str) -> None:
    await a_call(bus)
    program = f"import asyncio; from {__name__} import *; asyncio.run(deliver_to_the_deaf({redis_url!r}))"
    process = await asyncio.create_subprocess_exec(
        *tied([sys.executable, "-c", program]), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"telling c_1\n"
    process.kill()
    await process.wait()
    sink = Moody()
    assert await courier(bus, sink).round() == (1, 0)
    assert [record.call_id for record in sink.kept] == ["c_1"]


async def test_two_processes_do_not_take_the_same_attempt(bus: Bus) -> None:
    sink = Moody(fails=100)
    for number in range(10):
        await a_call(bus, f"c_{number}")
    while (await courier(bus, sink, pauses=Pauses(), tries=9).round()).due:
        pass
    assert sink.asked == 10
    ended = Ended(bus.wire, Pauses(first_ms=300, longest_ms=300))
    await asyncio.sleep(0.35)  # the pause
    taken = await asyncio.gather(*(ended.take_over(sink.name, most=10) for _ in range(4)))
    assert sorted(entry.call_id for each in taken for entry in each) == [f"c_{number}" for number in range(10)]


def test_the_pauses_grow_until_a_day_is_covered() -> None:
    pauses = [Pauses().after(tries) for tries in range(1, Terms().tries)]
    assert pauses[:3] == [30_000, 60_000, 120_000]
    assert max(pauses) == 3_600_000
    assert 22 * 3_600_000 < sum(pauses) < 26 * 3_600_000


async def test_a_sink_that_fails_does_not_hold_up_the_others_and_ends_in_a_dead_letter_that_can_be_sent_again(
    bus: Bus, redis_url: str
) -> None:
    sink, other = Moody(fails=4), Moody("other")
    await a_call(bus)
    for _ in range(4):
        await courier(bus, sink).round()
    await courier(bus, other).round()
    assert (sink.asked, len(other.kept)) == (3, 1)
    (letter,) = [letter async for letter in bus.dead_letters.all()]
    assert (letter.why, letter.call_id, letter.page, letter.sink) == ("record_not_delivered", "c_1", PAGE, "moody")
    assert letter.detail == "moody: it is in a mood"
    assert PSID.encode() not in letter.body
    await bus.wire.call("DEL", f"{PREFIX}log:c_1")  # its record does not need the log any more

    (done,) = await asyncio.to_thread(dead.retry, load({"REDIS_URL": redis_url}), dead.Selection((letter.id,)))
    assert done.done
    assert done.message.startswith("the record of call c_1 for moody is queued")

    async with Graph("http://127.0.0.1:9", "v23.0") as graph:
        desk = Desk(bus=bus, graph=graph, tokens={}, sinks=(sink, other))
        assert await letters.retry(desk, letter.id, 0) == "failed"
        (again,) = [letter async for letter in bus.dead_letters.all()]
        assert await letters.retry(desk, again.id, 0) == "settled"
    assert [record.call_id for record in sink.kept] == ["c_1"]
    assert sink.kept == other.kept
    assert not [letter async for letter in bus.dead_letters.all()]


async def test_a_call_whose_log_is_gone_is_nobody_s_trouble(bus: Bus) -> None:
    sink = Moody()
    await a_call(bus)
    await bus.wire.call("DEL", f"{PREFIX}log:c_1")
    assert await courier(bus, sink).round() == (1, 0)
    assert not sink.kept
    assert await Ended(bus.wire).waiting() == {"moody": 0}


async def test_the_stream_begins_anew_after_redis_was_emptied(bus: Bus) -> None:
    sink = Moody()
    await courier(bus, sink).round()
    await bus.wire.call("FLUSHALL")
    await a_call(bus, "c_2")
    await courier(bus, sink).round()
    assert [record.call_id for record in sink.kept] == ["c_2"]


@pytest.mark.parametrize("with_psid", [False, True])
async def test_a_file_gets_a_line_of_json_for_each_call(bus: Bus, tmp_path: Path, with_psid: bool) -> None:
    path = tmp_path / "new" / "records.jsonl"
    await a_call(bus, "c_1")
    await a_call(bus, "c_2")
    async with sink_at(f"file://{path}") as sink:
        await courier(bus, sink, with_psid=with_psid).round()
    lines = path.read_bytes().splitlines()
    records = {record.call_id: record for record in map(msgspec.json.Decoder(Record).decode, lines)}
    assert set(records) == {"c_1", "c_2"}
    assert records["c_1"].consumer == pseudonym(PSID)
    assert records["c_1"].psid == (PSID if with_psid else None)
    assert (PSID.encode() in path.read_bytes()) == with_psid
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_webhook_is_signed_and_bears_the_same_id_each_time(bus: Bus) -> None:
    server = Server()
    await server.listen()
    server.will(Reply(503, b"later"), DONE)
    await a_call(bus)
    async with sink_at(f"{server.url}/hooks?token=hidden") as sink:
        await courier(bus, sink).round()
        await courier(bus, sink).round()
    await server.close()
    first, second = server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "record_c_1"
    told = msgspec.json.decode(second.body)
    assert (told["type"], told["data"]["call_id"], told["data"]["outcome"]) == ("call.ended", "c_1", "completed")
    signed = f"record_c_1.{second.headers['webhook-timestamp']}.".encode() + second.body
    wanted = base64.b64encode(hmac.digest(b"a key of ours", signed, "sha256")).decode()
    assert second.headers["webhook-signature"] == f"v1,{wanted}"
    assert "hidden" not in sink.name


async def test_a_database_has_one_row_for_each_call_however_often_it_is_told(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    await a_call(bus)
    async with sink_at(f"sqlite:///{path}") as sink:
        (entry,) = await Ended(bus.wire).take(sink.name, most=1)
        await courier(bus, sink).round()
    async with sink_at(f"sqlite:///{path}") as again:  # its migrations find their work done
        await bus.wire.call("XGROUP", "SETID", ENDED, again.name, "0")
        assert await courier(bus, again).round() == (1, 0)
    with sqlite3.connect(path) as database:
        rows = database.execute("select call_id, consumer, psid, outcome, jitter_ms, recordings from pageline_calls")
        assert rows.fetchall() == [
            ("c_1", pseudonym(PSID), None, "completed", 4.0, '["/recordings/c_1-1.opus"]'),
        ]
    assert entry.call_id == "c_1"


async def test_a_table_of_an_older_version_is_brought_up_to_date_and_keeps_its_rows(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    await a_call(bus)
    async with sink_at(f"sqlite:///{path}") as sink:
        await courier(bus, sink).round()
    with sqlite3.connect(path) as database:  # as the first version left it
        database.execute("alter table pageline_calls drop column ended_cause")
        database.execute("update pageline_calls_version set version_num = '0001'")
    await a_call(bus, "c_2", PSID)
    async with sink_at(f"sqlite:///{path}") as newer:
        assert await courier(bus, newer).round() == (1, 0)
    with sqlite3.connect(path) as database:
        columns = [column[0] for column in database.execute("select * from pageline_calls").description]
        assert columns == list(COLUMNS)
        rows = database.execute("select call_id, outcome, ended_cause from pageline_calls order by call_id")
        assert rows.fetchall() == [("c_1", "completed", None), ("c_2", "completed", None)]


def look_into(url: str) -> Removed | None:
    """Use a database as a process does that has just started."""

    async def look() -> Removed | None:
        async with sink_at(url) as sink:
            return await sink.remove(frozenset({"nobody"}))

    return asyncio.run(look())


def test_processes_that_start_together_make_the_table_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/calls.db"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert list(processes.map(look_into, [url] * 4)) == [Removed(0, ())] * 4


def test_what_cannot_be_a_sink_is_refused_by_name() -> None:
    for url, said in (
        ("ftp://host/x", "cannot be kept at ftp://host/x"),
        ("http://receiver.example/x", "in the clear"),
        ("file://records.jsonl", "three slashes"),
        ("postgresql:///calls", "names no host"),
        ("https://a:b@host.example/x?y=1,https://host.example/x", "names https://host.example/x twice"),
        ("https://host.example/x", "RECORDS_WEBHOOK_SECRET is not set"),
    ):
        with pytest.raises(Exception, match=said) as refused:
            _ = load({"RECORDS_SINKS": url}).record_addresses
        assert "a:b" not in str(refused.value)
    assert load({"RECORDS_SINKS": "http://127.0.0.1:9/x", "RECORDS_WEBHOOK_SECRET": "s"}).record_addresses
