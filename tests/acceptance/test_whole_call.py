"""One call with everything in it, through real processes against a strict Meta."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.calls import facts
from shared.calls.trace import trace_id
from shared.pseudonyms import pseudonym
from tests.acceptance.collector import Collector, listening
from tests.acceptance.line import PAGES, PIPELINE, Line
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until

KEY = {"authorization": "Bearer a-key-for-the-tests"}
PAGE = PAGES["echo"]
PSID = "24016538291759001"
CONSUMER_HZ, OUR_HZ, TOLERANCE_HZ = 620, 440, 5
WITHIN_S = 30
RECORDS = "records.jsonl"


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with listening() as collector:
        yield collector


@pytest.fixture(scope="module")
def line(simulated: SimulatedMeta, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    home = tmp_path_factory.mktemp("whole")
    settings = {
        "PAGELINE_API_KEYS": "a-key-for-the-tests",
        "CALL_HANDLERS": "onlooker:everything",
        "RECORDS_SINKS": f"file://{home}/{RECORDS}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with Line(home, simulated, **settings) as running:
        shutil.copy(Path(__file__).with_name("onlooker.py"), running.home)
        running.processes["sim"] = simulated.start(running.home, "--require-proof")
        running.start(*PIPELINE)
        yield running.await_ready()


def test_a_consumer_is_asked_called_spoken_to_shown_and_ends_it_with_a_key(
    line: Line, simulated: SimulatedMeta
) -> None:
    simulated.tell(PSID, optin_reply="approve", optin_after_ms=500, pickup="answer", tone_hz=CONSUMER_HZ)
    wanted = {"page": PAGE, "to": PSID, "handler": "onlooker:everything", "ask_permission": True}
    ours = httpx.post(f"{line.base}/v1/calls", json=wanted, headers=KEY).raise_for_status().json()["call_id"]

    call_id = simulated.call_to(PSID)["call_id"]
    simulated.wait(call_id, state="connected")

    def view() -> dict[str, Any]:
        return simulated.view(call_id)

    until(lambda: view()["seen"]["frames"] >= 10, "our pictures at the consumer's", timeout_s=WITHIN_S)
    simulated.toggle(call_id, video=True)
    until(lambda: _statuses(view(), "default_video") == {"disabled"}, "our video is off", timeout_s=WITHIN_S)
    simulated.toggle(call_id, video=False)
    simulated.press(call_id, "5")
    simulated.wait(call_id)
    until(lambda: [fact for fact in line.log_of(ours) if isinstance(fact, facts.Closed)], "the end", timeout_s=WITHIN_S)
    told = httpx.get(f"{line.base}/v1/calls/{ours}", headers=KEY).json()
    assert (told["outcome"], told["because"], told["meta_id"]) == ("completed", "handler_returned", call_id)

    heard = view()["heard"]
    assert abs(heard["dominant_hz"] - OUR_HZ) <= TOLERANCE_HZ
    assert heard["lost_packets"] == 0
    figures = next(fact for fact in line.log_of(ours) if isinstance(fact, facts.LegClosed))
    assert figures.packets_received > 0
    assert figures.packets_lost == 0

    until(lambda: simulated.asked("call_metrics"), "the metrics", timeout_s=WITHIN_S)
    (metrics,) = simulated.asked("call_metrics")
    assert (metrics["call_id"], metrics["status"]) == (call_id, 200)
    asked = [(one["edge"], one["action"], one["status"]) for one in simulated.asked_anything()]
    assert {status for *_, status in asked} == {200}, asked
    steps = [action for _, action, _ in asked]
    assert steps.count("connect") == 1
    assert steps.index("messenger_call_permissions") < steps.index("messages") < steps.index("connect")
    assert steps.count("media_update") >= 2
    assert not line.dead_letters()

    (record,) = until(lambda: records_in(line.home / RECORDS), "the record", timeout_s=WITHIN_S)
    assert (record["call_id"], record["meta_id"], record["outcome"]) == (ours, call_id, "completed")
    assert record["ended_by"] == "handler"
    nobody_is_named(line)
    report = forget(line)
    assert (report["done"], report["calls"], list(report["records"].values())) == (True, 1, [1])
    assert line.log_of(ours) == []
    assert records_in(line.home / RECORDS) == []


def records_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def nobody_is_named(line: Line) -> None:
    """No log line and no metric has the consumer's id; the simulator, which is Meta, may say what it likes."""
    for name in PIPELINE:
        assert PSID not in line.processes[name].said, name
    assert pseudonym(PSID) in line.processes["media"].said
    assert PSID not in httpx.get(f"{line.base}/metrics").text


def forget(line: Line) -> dict[str, Any]:
    told = subprocess.run(
        [sys.executable, "-m", "pageline", "forget", PSID, "--json"],
        env={**os.environ, **line.settings},
        cwd=line.home,
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert told.returncode == 0, told
    report: dict[str, Any] = json.loads(told.stdout)
    return report


def test_the_way_of_a_call_from_the_webhook_to_the_first_packet_is_one_trace(
    line: Line, simulated: SimulatedMeta, collector: Collector
) -> None:
    call_id = simulated.ring(PAGE, "9002")["call_id"]
    simulated.wait(call_id, state="connected")
    simulated.hang_up(call_id)
    whole = f"{trace_id(call_id):032x}"
    until(lambda: [one for one in collector.heard if one.trace_id == whole], "the trace", timeout_s=WITHIN_S)

    spans = {one.name: one for one in collector.heard if one.trace_id == whole}
    root = spans.pop("call")
    assert (root.service, root.parent) == ("pageline", b"")
    assert root.attributes["pageline.outcome"] == "completed"
    assert root.events[0] == "first packet out"
    assert {span.parent for span in spans.values()} == {root.own}
    assert all(root.start_ms <= span.start_ms <= span.end_ms <= root.end_ms for span in spans.values())
    way = (
        "claim",
        "handler start",
        "offer",
        "accept queued",
        "graph accept",
        "answer delivered",
        "ice and dtls",
        "talk",
    )
    begun = [spans[name].start_ms for name in way]
    assert begun == sorted(begun)
    assert spans["graph accept"].attributes["pageline.fbtrace_id"]


def _statuses(call: dict[str, Any], label: str) -> set[str]:
    return {track["status"] for track in call["tracks"].values() if track["label"] == label}
