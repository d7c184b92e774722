"""Call records in a real PostgreSQL: processes that start together, one row for each call, and a server that goes."""

import asyncio
import contextlib
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
import pytest

from shared.calls.record import Record, Sounded
from shared.records.addresses import read_addresses
from shared.records.opening import open_sinks
from shared.records.sink import Removed, Sink, SinkFailed
from tests.integration.test_records import look_into
from tests.interop.coturn import free_port

pytestmark = pytest.mark.interop

INSTALLED: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD: Final = "s3cret"


class PostgreSQL:
    """A server in a folder of its own; it does not run as root, whoever runs the tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._port = free_port()
        self.url = f"postgresql://line:{PASSWORD}@127.0.0.1:{self._port}/postgres"
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ("-U", "line", "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "-N")
        self._run(INSTALLED[-1] / "initdb", "-D", folder / "data", *options).wait(60)
        self._server = self._start()

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)
        self._server.wait(20)

    def start_again(self) -> None:
        self._server = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        where = ("-h", "127.0.0.1", "-p", str(self._port), "-k", str(self._folder))
        server = self._run(INSTALLED[-1] / "postgres", "-D", self._folder / "data", *where)
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s and server.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
                return server
            time.sleep(0.05)
        raise AssertionError(f"PostgreSQL does not start:\n{(self._folder / 'log').read_text()}")

    def _run(self, *command: str | Path) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(list(command), cwd=self._folder, user=self._user, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    if not INSTALLED:
        pytest.skip("there is no PostgreSQL here (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pageline-postgresql-"))
    running = PostgreSQL(folder)
    yield running
    running.stop()
    shutil.rmtree(folder)


def record(call_id: str, *, consumer: str = "22ab6aa1f50a", outcome: str = "completed") -> Record:
    at = datetime(2026, 11, 5, 12, 0, 0, 250_000, UTC)
    return Record(
        call_id=call_id,
        meta_id=call_id,
        page="106378625516323",
        consumer=consumer,
        psid=None,
        direction="user_initiated",
        handler="shop:reception",
        placed_at=None,
        arrived_at=at,
        answered_at=at,
        ended_at=at,
        ring_s=1.5,
        talk_s=0.0,
        total_s=1.5,
        outcome=outcome,
        because="ended_at_meta",
        ended_by="consumer",
        handler_ended="cancelled",
        handler_error=None,
        why=None,
        quality=Sounded(jitter_ms=4.0),
        recordings=("s3://calls/ü.opus",),
    )


def open_at(url: str) -> Sink:
    return open_sinks(read_addresses((url,)), secret="")[0]


def test_processes_that_start_together_make_the_table_once(server: PostgreSQL) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert list(processes.map(look_into, [server.url] * 6)) == [Removed(0, ())] * 6


async def test_records_are_rows_one_for_each_call(server: PostgreSQL) -> None:
    sinks = [open_at(server.url) for _ in range(4)]
    await asyncio.gather(
        *(sink.take(record(f"c_{number}")) for number, sink in enumerate(sinks)), sinks[0].take(record("c_0"))
    )
    await sinks[1].take(record("c_0", outcome="failed", consumer="another"))
    with psycopg.connect(server.url) as database:
        rows = database.execute(
            "select call_id, outcome, ended_at, jitter_ms, recordings from pageline_calls order by call_id"
        ).fetchall()
    assert [row[:2] for row in rows] == [
        ("c_0", "failed"), ("c_1", "completed"), ("c_2", "completed"), ("c_3", "completed"),
    ]  # fmt: skip
    assert rows[0][2] == record("c_0").ended_at
    assert rows[0][3:] == (4.0, '["s3://calls/ü.opus"]')

    assert await sinks[2].remove(frozenset({"another"})) == Removed(1, ("s3://calls/ü.opus",), ("c_0",))
    assert await sinks[2].remove(frozenset({"another"})) == Removed(0, ())
    for sink in sinks:
        await sink.close()


async def test_a_server_that_goes_and_comes_back_takes_records_again_and_no_error_tells_the_password(
    server: PostgreSQL,
) -> None:
    sink = open_at(server.url)
    await sink.take(record("c_10"))
    server.stop()
    with pytest.raises(SinkFailed) as failed:
        await sink.take(record("c_11"))
    assert PASSWORD not in str(failed.value)
    server.start_again()
    await sink.take(record("c_11"))
    await sink.close()
