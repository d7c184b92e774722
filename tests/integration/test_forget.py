"""`pageline forget` on a real Valkey and real files: nothing is left of one consumer, and everything of the others."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import redis
from typer.testing import CliRunner

from pageline.cli import app
from shared.bus import PREFIX, STASH, Bus, Routed
from shared.calls import facts
from shared.dead import Letter
from shared.ended import Ended
from shared.messenger import Outbox, Parcel
from shared.pseudonyms import pseudonym
from shared.records.addresses import read_addresses
from shared.records.opening import open_sinks
from shared.wire import Wire
from tests.integration.test_records import PAGE, PSID, a_call
from workers.action.records import Courier, Terms
from workers.media.recorder import recording_name

OTHER: Final = "1" + PSID
"""Whose id holds the same digits."""


class Office(NamedTuple):
    """A line that has had calls of two consumers."""

    bus: Bus
    folder: Path
    environ: dict[str, str]

    async def forget(self, psid: str = PSID) -> tuple[int, dict[str, Any]]:
        runner = CliRunner(env=os.environ | self.environ)
        result = await asyncio.to_thread(runner.invoke, app, ["forget", psid, "--json"])
        return result.exit_code, json.loads(result.stdout) if result.stdout else {"said": str(result.exception)}


@pytest.fixture
async def office(redis_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    sinks = f"file://{tmp_path}/calls.jsonl,sqlite:///{tmp_path}/calls.db"
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    environ = {"REDIS_URL": redis_url, "RECORDS_SINKS": sinks, "RECORDINGS_URL": str(recordings), "RECORDS_PSID": "on"}
    async with Wire.from_url(redis_url) as wire:
        bus = Bus(wire)
        for number, consumer in enumerate((PSID, OTHER, PSID, OTHER)):
            call = f"c_{number}"
            await a_call(bus, call, consumer)
            name = recording_name(call, 1, 1)
            (recordings / name).write_bytes(b"OggS")
            (recordings / f"{name}.json").write_text(json.dumps({"call_id": call, "caller": consumer}))
        (recordings / "c_old-1.opus").write_bytes(b"OggS")  # of a call whose log is long gone
        (recordings / "c_old-1.opus.json").write_text(json.dumps({"call_id": "c_old", "caller": PSID}))
        for sink in open_sinks(read_addresses(tuple(sinks.split(","))), secret=""):
            await Courier(sink, bus, Ended(wire), Terms(with_psid=True)).round()
            await sink.close()
        await bus.bury(Letter(why="webhook_unreadable", body=b'{"from":"%s"}' % PSID.encode()))
        await bus.bury(Letter(why="action_graph", action="terminate", call_id="c_0"))
        await bus.bury(Letter(why="action_graph", action="terminate", call_id="c_1"))
        for name, consumer in (("theirs", PSID), ("anothers", OTHER)):
            await Outbox(wire).put(name, Parcel(PAGE, "text", b'{"recipient":"%s"}' % consumer.encode(), "", "cli"))
        await wire.call("ZADD", f"{PREFIX}stranger:{PAGE}:{PSID}", 1, "c_x")
        yield Office(bus, tmp_path, environ)


def contents(redis_url: str) -> Iterator[str]:
    """Yield everything that Redis holds, by other code than that which removes it."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        read: dict[str, Any] = {
            "string": client.get,
            "hash": client.hgetall,
            "stream": client.xrange,
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1),
            "list": lambda key: client.lrange(key, 0, -1),
        }
        for key in client.scan_iter():
            yield f"{key} {read[client.type(key)](key)}"


def holds(text: str, psid: str) -> bool:
    return psid in text.replace(OTHER, "other") if psid == PSID else psid in text


async def test_a_consumer_is_gone_everywhere_and_nobody_else(office: Office, redis_url: str) -> None:
    before = list(contents(redis_url))
    assert sum(holds(each, PSID) for each in before) >= 6
    status, report = await office.forget()
    assert (status, report["done"], report["left"], report["failed"]) == (0, True, [], []), report
    assert (report["consumer"], report["calls"], report["letters"], report["messages"]) == (pseudonym(PSID), 2, 2, 1)
    after = list(contents(redis_url))
    assert not [each for each in after if holds(each, PSID)]
    assert sum(holds(each, OTHER) for each in after) == sum(holds(each, OTHER) for each in before)
    assert await office.bus.recent_calls() == ["c_3", "c_1"]

    names = {f"{recording_name(call, 1, 1)}{end}" for call in ("c_1", "c_3") for end in ("", ".json")}
    assert set(os.listdir(office.folder / "recordings")) == names  # noqa: PTH208
    lines = (office.folder / "calls.jsonl").read_text().splitlines()
    assert [json.loads(line)["psid"] for line in lines] == [OTHER, OTHER]
    with sqlite3.connect(office.folder / "calls.db") as database:
        assert database.execute("select psid from pageline_calls").fetchall() == [(OTHER,), (OTHER,)]
    assert set(report["records"].values()) == {2}
    assert (await office.forget())[1]["calls"] == 0


async def test_what_meta_sends_again_of_a_forgotten_call_begins_nothing(office: Office, redis_url: str) -> None:
    await office.forget()
    arrived = facts.Arrived(page=PAGE, consumer=PSID, direction="user_initiated", sent_at_ms=1, answer_by_ms=2)
    assert await office.bus.route("c_0", arrived, identity="connect") is Routed.DUPLICATE
    assert await office.bus.route("c_0", arrived, identity="something new") is Routed.DUPLICATE
    assert await office.bus.read_log("c_0") == []
    assert not [each for each in contents(redis_url) if holds(each, PSID)]


async def test_nothing_is_removed_while_a_call_is_not_over(office: Office, redis_url: str) -> None:
    now_ms = await office.bus.beat(lease_ms=1000)
    arrived = facts.Arrived(
        page=PAGE, consumer=PSID, direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await office.bus.route("c_live", arrived, identity="connect")
    before = sum(holds(each, PSID) for each in contents(redis_url))
    status, report = await office.forget()
    assert status == 1
    assert "Say `pageline hangup c_live` first" in report["said"]
    assert sum(holds(each, PSID) for each in contents(redis_url)) == before
    assert await office.bus.read_log("c_0")


@pytest.mark.parametrize("place", ["unknown", f"unknown:{PSID}"])
async def test_what_cannot_be_removed_is_told(office: Office, place: str) -> None:
    await office.bus.wire.call("SET", place, f"to {PSID}.")
    status, report = await office.forget()
    assert (status, report["done"], report["left"]) == (1, False, [place])


async def test_a_sink_that_cannot_be_asked_is_told(office: Office) -> None:
    office.environ["RECORDS_SINKS"] += ",postgresql://127.0.0.1:9/calls"
    status, report = await office.forget()
    assert (status, report["done"], report["left"]) == (1, False, [])
    assert "postgresql://127.0.0.1:9/calls could not be asked" in report["failed"][0]
    assert report["calls"] == 2


def webhook(*senders: str) -> bytes:
    messages = [{"sender": {"id": sender}, "recipient": {"id": PAGE}, "message": {"text": "hi"}} for sender in senders]
    return json.dumps({"object": "page", "entry": [{"id": PAGE, "time": 1, "messaging": messages}]}).encode()


async def test_webhooks_that_wait_to_be_passed_on_go_unless_another_would_miss_them(
    office: Office, redis_url: str
) -> None:
    for digest, senders in (("theirs", [PSID, PSID]), ("shared", [PSID, OTHER]), ("anothers", [OTHER])):
        await office.bus.stash(digest, webhook(*senders), b"sha256=abc", ttl_s=60)
    status, report = await office.forget()
    assert (status, report["left"]) == (1, [STASH + "shared"])
    assert await office.bus.stashed("theirs") is None
    assert await office.bus.stashed("anothers") is not None
    await office.bus.passed_on("shared", ttl_s=60)
    status, report = await office.forget()
    assert (status, report["left"]) == (0, [])
    assert not [each for each in contents(redis_url) if holds(each, PSID)]


async def test_another_s_call_in_which_the_consumer_is_named_is_left_and_told(office: Office) -> None:
    await office.bus.route("c_1", facts.Unrecognized(event="odd", body=PSID), identity="odd")
    status, report = await office.forget()
    assert (status, report["left"]) == (1, [f"{PREFIX}log:c_1"])
    assert report["calls"] == 2
