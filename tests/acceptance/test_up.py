"""`pageline up`, driven from outside as DESIGN.md says, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.acceptance.line import Process, free_port, readiness
from tests.acceptance.standin import Meta, dominant_hz, until

PAGELINE = str(Path(sys.executable).with_name("pageline"))
GONE_WITHIN_S = 10.0
DRAIN_SECONDS = 5


class Up(NamedTuple):
    """A running `up`, the other side, and everything it started."""

    process: Process
    meta: Meta
    children: list[psutil.Process]
    data_dir: str


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Meta() as meta:
        port = free_port()
        meta.webhook_url = f"http://127.0.0.1:{port}/webhook"
        contract = {
            "META_APP_SECRET": "s3cret",
            "META_VERIFY_TOKEN": "v3rify",
            "PAGE_TOKENS": "106378625516323=x",
            "GRAPH_URL": meta.url,
            "GRAPH_VERSION": "v23.0",
            "MEDIA_ADDRESSES": "127.0.0.1",
            "MEDIA_CAPACITY": "1000",
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "DASHBOARD_PORT": "0",
            "CALL_HANDLER": "workers.handlers.echo:answer",
        }
        here = {"HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": str(tmp_path / "data")}
        process = Process([PAGELINE, "up"], home=tmp_path, env={**contract, **here})
        children: list[psutil.Process] = []
        try:
            until(lambda: readiness(f"http://127.0.0.1:{port}") == "ready", "up is ready", timeout_s=30)
            children += psutil.Process(process.pid).children(recursive=True)
            yield Up(process, meta, children, here["DATA_DIR"])
        finally:
            process.stop()
            for child in children:
                if child.is_running():
                    child.kill()


def test_up_killed_outright_in_the_middle_of_a_call_leaves_no_process_behind(up: Up) -> None:
    consumer = up.meta.consumer(hz=620).ring()
    assert abs(dominant_hz(consumer.await_sound(1.0)) - 620) <= 5
    names = [" ".join(child.cmdline()) for child in up.children]
    for wanted in ("pageline web", "pageline media", "pageline action", "valkey-server"):
        assert [name for name in names if wanted in name], names
    up.process.signal(signal.SIGKILL)
    _, left = psutil.wait_procs(up.children, timeout=GONE_WITHIN_S)
    assert not left


def test_the_calls_of_up_are_told_without_naming_its_redis(up: Up) -> None:
    consumer = up.meta.consumer(hz=620).ring()
    consumer.await_sound(0.3)
    consumer.hang_up()
    until(lambda: f'"call": "{consumer.call_id}", "outcome"' in up.process.said, "the end")
    listed = subprocess.run(
        [PAGELINE, "calls", "--json"],
        env={"PATH": os.environ["PATH"], "DATA_DIR": up.data_dir},
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert [call["call_id"] for call in json.loads(listed.stdout)] == [consumer.call_id]


def test_a_valkey_that_is_killed_under_up_is_started_again_and_the_conversation_goes_on(up: Up) -> None:
    consumer = up.meta.consumer(hz=620).ring()
    consumer.await_sound(0.5)
    valkey = next(child for child in up.children if "valkey-server" in " ".join(child.cmdline()))
    valkey.kill()
    until(lambda: "it is started again" in up.process.said, "the next Valkey")
    consumer.await_sound(2.0)
    assert consumer.actions("terminate") == []
    another = up.meta.consumer(hz=620).ring()
    assert abs(dominant_hz(another.await_sound(1.0)) - 620) <= 5
    for each in (consumer, another):
        each.hang_up()
        until(lambda each=each: f'"call": "{each.call_id}", "outcome": "completed"' in up.process.said, "the end")


def test_up_that_is_told_to_end_drains_and_says_goodbye_to_the_caller(up: Up) -> None:
    consumer = up.meta.consumer(hz=620).ring()
    consumer.await_sound(0.3)
    up.process.signal(signal.SIGTERM)
    consumer.await_action("terminate", timeout_s=DRAIN_SECONDS + 5)
    assert up.process.wait(8) == 0
    _, left = psutil.wait_procs(up.children, timeout=1)
    assert not left
    assert [request.action for request in consumer.actions()] == ["accept", "terminate"]
    assert '"outcome": "completed"' in up.process.said
    assert consumer.gone.wait(1)
