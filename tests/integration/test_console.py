"""`/console` on a real uvicorn and a real Valkey: who gets in, what is told, and what can be done with which key."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from ingress.console import TRIES_OF_ADDRESS
from shared import index, quality
from shared.bus import PREFIX, Bus
from shared.calls import facts
from shared.dead import Letter
from shared.embedded import free_port
from shared.log import pseudonym
from shared.parent import tied
from shared.wire import Wire
from tests.integration.test_ingress import PAGE, serving

KEYS: Final = "admin:boss,call:caller,read:looker"
HERE: Final = {"HOST": "127.0.0.1", "PAGELINE_API_KEYS": KEYS}
PSID: Final = "5275811702471834"
CALL: Final = "c_0123456789abcdef"


@pytest.fixture
def web(redis_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(redis_url, PAGELINE_API_KEYS=KEYS, DATA_DIR=str(tmp_path)) as client:
        client.headers["origin"] = str(client.base_url).rstrip("/")
        yield client


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


def get(web: httpx.Client, path: str, **more: Any) -> httpx.Response:
    return web.get(path, **more)


def post(web: httpx.Client, path: str, **more: Any) -> httpx.Response:
    return web.post(path, **more)


def log_in(web: httpx.Client, key: str) -> httpx.Response:
    return web.post("/console/login", data={"key": key})


async def live(bus: Bus, call_id: str = CALL) -> None:
    """A call in which both speak, with a worker that is there."""
    await bus.beat("one", lease_ms=60_000, capacity=4, join=True)
    now_ms = bus.now_ms()
    arrived = facts.Arrived(
        page=PAGE, consumer=PSID, direction="user_initiated", sent_at_ms=now_ms, answer_by_ms=now_ms + 55_000
    )
    await bus.route(call_id, arrived)
    await bus.route(call_id, facts.OfferMade(sdp="v=0", epoch=1))
    await bus.route(call_id, facts.AnswerReceived(sdp="v=0", graph_ms=200))
    await bus.route(call_id, facts.LegConnected(setup_ms=80, epoch=1))


async def ended(bus: Bus, call_id: str = CALL, *, answer_ms: int | None = 1_234) -> None:
    await live(bus, call_id)
    await bus.route(call_id, facts.Terminated(status="completed", duration_s=1))
    await bus.route(call_id, facts.LegClosed(packets_received=50, epoch=1))
    await bus.done(call_id, "one", 1, "completed", answer_ms=answer_ms)


def sections(web: httpx.Client, *wanted: str) -> dict[str, Any]:
    """Follow the stream until these sections were told."""
    told: dict[str, Any] = {}
    name = ""
    with web.stream("GET", "/console/events") as events:
        for line in events.iter_lines():
            what, _, said = line.partition(": ")
            name = said if what == "event" else name
            if what == "data":
                told[name] = json.loads(said)
            if set(wanted) <= told.keys():
                return told
    raise AssertionError(told)


# -- the way in --------------------------------------------------------------------------------------------------------


def test_a_key_opens_the_console_and_the_cookie_is_for_it_alone(web: httpx.Client) -> None:
    assert 'id="login"' in web.get("/console").text
    assert web.get("/console/data/me").status_code == 401
    reply = log_in(web, "looker")
    cookie = reply.headers["set-cookie"].lower()
    assert (reply.status_code, reply.headers["location"]) == (303, "/console")
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/console"))
    assert "secure" not in cookie
    assert 'id="overview"' in web.get("/console").text
    assert web.get("/console/data/me").json() == {"scope": "read"}
    web.post("/console/logout")
    assert web.get("/console/data/me").status_code == 401


def test_whoever_logs_in_on_the_way_to_a_call_gets_there_and_nowhere_else(web: httpx.Client) -> None:
    for came_from, led_to in (
        (f"{web.base_url}/console/calls/{CALL}", f"/console/calls/{CALL}"),
        (f"{web.base_url}/console/calls", "/console/calls"),
        (f"{web.base_url}/console/login", "/console"),
        ("https://elsewhere.example//console/calls/x", "/console"),
        (f"{web.base_url}//elsewhere.example/console/calls", "/console"),
    ):
        reply = web.post("/console/login", data={"key": "looker"}, headers={"referer": came_from})
        assert (reply.status_code, reply.headers["location"]) == (303, led_to)


def test_behind_https_the_cookie_stays_there(web: httpx.Client) -> None:
    reply = web.post("/console/login", data={"key": "looker"}, headers={"x-forwarded-proto": "https"})
    assert "secure" in reply.headers["set-cookie"].lower()


def test_no_page_runs_what_it_was_not_served_with(web: httpx.Client) -> None:
    log_in(web, "looker")
    for path in ("/console", "/console/calls", f"/console/calls/{CALL}"):
        reply = web.get(path)
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in reply.text
        assert "style=" not in reply.text


def test_who_guesses_has_to_wait_even_with_a_right_key(web: httpx.Client) -> None:
    told = {log_in(web, "a-guess").status_code for _ in range(TRIES_OF_ADDRESS)}
    assert told == {401}
    assert log_in(web, "a-guess").status_code == 429
    assert log_in(web, "boss").status_code == 429


@pytest.mark.parametrize("origin", [{"origin": "https://elsewhere.example"}, {"origin": "null"}, {"origin": ""}])
def test_what_another_site_sends_is_refused(web: httpx.Client, origin: dict[str, str]) -> None:
    assert web.post("/console/login", data={"key": "boss"}, headers=origin).status_code == 403
    log_in(web, "boss")
    for path in ("/console/logout", f"/console/calls/{CALL}/hangup", "/console/dead/1-0/drop", "/console/data/find"):
        assert web.post(path, headers=origin).status_code == 403
    assert web.get("/console/data/me").status_code == 200


def test_without_keys_it_is_closed_and_says_what_to_set(redis_url: str) -> None:
    with serving(redis_url) as web:
        assert "pageline keys new" in web.get("/console").text
        assert web.get("/console/data/me").status_code == 401
        origin = {"origin": str(web.base_url).rstrip("/")}
        assert web.post("/console/login", data={"key": ""}, headers=origin).status_code == 403


def test_a_key_that_was_taken_out_ends_its_sessions(redis_url: str, web: httpx.Client) -> None:
    log_in(web, "looker")
    with serving(redis_url, PAGELINE_API_KEYS="admin:boss") as later:
        later.cookies.set("pageline_console", web.cookies["pageline_console"])
        assert later.get("/console/data/me").status_code == 401


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_the_stream_tells_of_calls_workers_hours_and_what_is_wrong(web: httpx.Client, bus: Bus) -> None:
    await ended(bus, "c_before")
    await live(bus)
    await quality.add(bus.wire, {CALL: quality.Sample(mos_estimate=4.1)}, Counter(), kept_hours=1)
    log_in(web, "looker")
    told = sections(web, "calls", "recent", "hours", "workers", "queues", "wrongs", "dead", "beat")
    (row,) = told["calls"]["rows"]
    assert told["calls"]["total"] == 1
    assert (row["call_id"], row["phase"], row["owner"], row["mos"]) == (CALL, "live", "one", 4.1)
    assert row["consumer"] == pseudonym(PSID)
    (before,) = told["recent"]["rows"]
    assert (before["call_id"], before["outcome"], told["recent"]["kept"]) == ("c_before", "completed", 2)
    assert told["hours"][-1]["outcomes"] == {"completed": 1}
    assert told["hours"][-1]["answers"] == {"1200": 1}
    assert told["workers"] == [{"worker": "one", "capacity": 4, "held": 1}]
    assert told["queues"] == {"waiting": 0, "waited_s": 0, "accept": 0, "control": 0, "bulk": 0}
    assert told["wrongs"] == []
    assert PSID not in json.dumps(told)


async def test_a_worker_that_is_not_heard_of_any_more_is_told_with_its_calls_and_one_that_left_is_not(
    web: httpx.Client, bus: Bus
) -> None:
    await bus.beat("left", lease_ms=60_000, join=True)
    await bus.beat("left", lease_ms=0)
    await live(bus)
    await bus.beat("two", lease_ms=60_000, capacity=0, join=True)
    await bus.wire.call("ZADD", f"{PREFIX}workers", 1, "one")  # its lease has run out
    now_ms = await bus.beat("two", lease_ms=60_000, capacity=4)
    claimed = (await bus.read_log(CALL))[-1].fact
    assert isinstance(claimed, facts.Claimed)
    await bus.route(CALL, facts.HandlerEnded(how="returned", epoch=claimed.epoch))
    await bus.done(CALL, "two", claimed.epoch, "lost")
    log_in(web, "looker")
    told = sections(web, "workers", "deaths", "recent")
    assert [(row["outcome"], row["owner"]) for row in told["recent"]["rows"]] == [("lost", "one")], "who lost it"
    assert [worker["worker"] for worker in told["workers"]] == ["two"]
    assert told["deaths"] == [{"worker": "one", "held": 1, "at_ms": now_ms}]


async def test_calls_are_listed_page_by_page_without_a_gap(web: httpx.Client, bus: Bus) -> None:
    wanted = {f"c_{number:03d}" for number in range(120)}
    for call_id in wanted:  # several of one millisecond
        await bus.route(call_id, facts.Terminated(status="failed"))
    log_in(web, "looker")
    found: list[str] = []
    page: dict[str, Any] = {"before": ""}
    while page["before"] is not None:
        page = get(web, "/console/data/calls", params={"before": page["before"]}).json()
        found += [call["call_id"] for call in page["calls"]]
    assert (len(found), set(found), page["kept"]) == (120, wanted, 120)


@pytest.mark.parametrize("query", [CALL, CALL[:8], PSID, pseudonym(PSID)])
async def test_a_call_is_found_by_its_id_its_beginning_its_consumer_or_the_pseudonym(
    web: httpx.Client, bus: Bus, query: str
) -> None:
    await live(bus)
    await bus.route("c_another", facts.Terminated(status="failed"))
    log_in(web, "looker")
    found = post(web, "/console/data/find", data={"q": query}).json()["calls"]
    assert [call["call_id"] for call in found] == [CALL]
    assert post(web, "/console/data/find", data={"q": "c_*3*"}).json()["calls"] == []


async def test_one_call_is_told_with_its_marks_and_why_and_the_psid_to_admins_only(web: httpx.Client, bus: Bus) -> None:
    await ended(bus)
    log_in(web, "caller")
    told = get(web, f"/console/data/calls/{CALL}").json()
    assert (told["outcome"], told["psid"], told["consumer"]) == ("completed", None, pseudonym(PSID))
    assert PSID not in json.dumps(told)
    assert "sent_nothing" in [reason["rule"] for reason in told["why"]]
    accept = next(mark for mark in told["marks"] if mark["label"] == "accept")
    assert (accept["lane"], accept["until_ms"] - accept["at_ms"]) == ("graph", 200)
    assert [fact["fact"] for fact in told["facts"]][:2] == ["Arrived", "Claimed"]
    log_in(web, "boss")
    assert get(web, f"/console/data/calls/{CALL}").json()["psid"] == PSID
    assert get(web, "/console/data/calls/c_unknown").status_code == 404


async def test_the_console_says_why_in_the_words_of_the_command(web: httpx.Client, bus: Bus, redis_url: str) -> None:
    await ended(bus)
    log_in(web, "looker")
    reasons = get(web, f"/console/data/calls/{CALL}").json()["why"]
    command = [sys.executable, "-m", "pageline", "call", CALL, "--why"]
    environment = {**os.environ, "REDIS_URL": redis_url, "COLUMNS": "500"}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode()
    told = [line for reason in reasons for line in (reason["sentence"], reason["remedy"]) if line]
    assert told
    assert [line.strip() for line in said.splitlines()] == told


async def test_a_recording_is_played_in_parts_and_none_from_beyond_the_folders(
    web: httpx.Client, bus: Bus, tmp_path: Path
) -> None:
    inside, beside = tmp_path / "recordings" / "one.opus", tmp_path.parent / f"{tmp_path.name}.opus"
    inside.parent.mkdir()
    inside.write_bytes(bytes(range(100)))
    beside.write_bytes(b"not to be heard")
    (tmp_path / "valkey.conf").write_text("secret")
    link = tmp_path / "recordings" / "link.opus"
    link.symlink_to(beside)
    await live(bus)
    elsewhere = (str(beside), f"{inside.parent}/../../{beside.name}", str(link), str(tmp_path / "valkey.conf"))
    for path in (str(inside), *elsewhere, "s3://bucket/calls/two.opus", "\0.opus"):
        await bus.route(CALL, facts.RecordingStarted(path=path, epoch=1))
    log_in(web, "looker")
    at = f"/console/data/calls/{CALL}/recordings"
    part = get(web, f"{at}/0", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, bytes(range(10, 20)), "audio/ogg")
    assert {get(web, f"{at}/{number}").status_code for number in range(1, 9)} == {404}
    told = get(web, f"/console/data/calls/{CALL}").json()["recordings"]
    assert [each["playable"] for each in told] == [True] + 6 * [False]
    assert told[0]["size"] == 100
    web.cookies.clear()
    assert get(web, f"{at}/0").status_code == 401


# -- what can be done --------------------------------------------------------------------------------------------------


async def test_ending_a_call_takes_a_key_that_may_call(web: httpx.Client, bus: Bus) -> None:
    await live(bus)
    log_in(web, "looker")
    assert post(web, f"/console/calls/{CALL}/hangup").status_code == 403
    log_in(web, "caller")
    assert post(web, f"/console/calls/{CALL}/hangup").status_code == 202
    asked = (await bus.read_log(CALL))[-1].fact
    assert (type(asked), getattr(asked, "by", "")) == (facts.HangUpAsked, "operator")
    assert post(web, "/console/calls/c_unknown/hangup").status_code == 404


async def test_dead_letters_are_seen_by_all_and_handled_by_admins(web: httpx.Client, bus: Bus) -> None:
    for letter in (
        Letter(why="action_graph", action="terminate", call_id=CALL, detail="Graph refused.", body=b"a PSID"),
        Letter(why="action_too_late", action="accept", call_id=CALL),
        Letter(why="webhook_unreadable", body=b"{"),
    ):
        await bus.bury(letter)
    log_in(web, "caller")
    letters = get(web, "/console/data/dead").json()["letters"]
    assert [(each["why"], each["retriable"]) for each in letters] == [
        ("webhook_unreadable", True),
        ("action_too_late", False),
        ("action_graph", True),
    ]
    unreadable, late, refused = (f"/console/dead/{each['id']}" for each in letters)
    assert post(web, f"{refused}/retry").status_code == 403
    log_in(web, "boss")
    assert "is queued" in post(web, f"{refused}/retry").json()["message"]
    assert post(web, f"{late}/retry").status_code == 409
    assert "unreadable still" in post(web, f"{unreadable}/retry").json()["error"]["message"]
    assert post(web, f"{late}/drop").json() == {"message": "dropped"}
    assert post(web, f"{late}/drop").status_code == 404
    assert post(web, "/console/dead/x/drop").status_code == 404


# -- the index ---------------------------------------------------------------------------------------------------------


async def test_a_call_that_is_gone_from_the_index_is_not_found_by_its_consumer(bus: Bus) -> None:
    await live(bus)
    assert [each.call_id for each in await index.of_consumer(bus.wire, pseudonym(PSID), limit=5)] == [CALL]
    await bus.wire.call("ZREM", index.INDEX, CALL)
    assert await index.of_consumer(bus.wire, pseudonym(PSID), limit=5) == []


async def test_a_call_whose_log_was_written_anew_is_found_by_its_consumer(bus: Bus) -> None:
    await live(bus)
    entries = await bus.read_log(CALL)
    await bus.wire.call("FLUSHALL")
    assert await bus.restore(CALL, "one", 1, entries)
    (found,) = await index.of_consumer(bus.wire, pseudonym(PSID), limit=5)
    assert found == (CALL, entries[0].fact.at_ms)


async def test_calls_are_counted_in_the_hour_in_which_they_were_closed(bus: Bus) -> None:
    await ended(bus, "c_1", answer_ms=1_049)
    await ended(bus, "c_2", answer_ms=987)
    await ended(bus, "c_3", answer_ms=None)
    now_ms = bus.now_ms()
    (hour,) = await index.hours(bus.wire, [now_ms - now_ms % index.HOUR_MS])
    assert (hour.outcomes, hour.answers) == ({"completed": 3}, {1_000: 1, 990: 1})


# -- its process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_process_that_is_told_to_end_lets_its_viewers_go_at_once(
    redis_url: str, tmp_path: Path, processes: str
) -> None:
    """Uvicorn waits for replies under way and then cuts them off; a stream that ended by itself has a last chunk.

    Of several processes the first alone is told, and tells the others.
    """
    port = free_port()
    env = {"REDIS_URL": redis_url, "META_APP_SECRET": "x", "META_VERIFY_TOKEN": "y", "PORT": str(port), **HERE}
    env["WEB_CONCURRENCY"] = processes
    command = [sys.executable, "-m", "pageline", "web"]
    with subprocess.Popen(tied(command), env={**os.environ, **env}, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=6)) as web:
            web.headers["origin"] = str(web.base_url).rstrip("/")
            log_in(web, "looker")
            with web.stream("GET", "/console/events") as events:
                lines = events.iter_lines()
                next(lines)
                process.terminate()
                assert [*lines] != []
        assert process.wait(10) in {0, -signal.SIGTERM}
