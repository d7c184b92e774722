"""`pageline replay`: what once happened happens again, live and signed; and `call --export`, which records it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.calls import facts
from tests.acceptance.line import Line
from tests.acceptance.standin import Consumer, Meta

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT / "replay"
SAMPLES = ROOT / "fixtures" / "webhooks"


def pageline(line: Line, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pageline", *arguments],
        env=line.settings,
        cwd=line.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def replayed(line: Line, *arguments: str) -> dict[str, Any]:
    done = pageline(line, "replay", *arguments, "--to", f"{line.base}/webhook", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def listed(line: Line) -> dict[str, dict[str, Any]]:
    done = pageline(line, "calls", "--json", "--limit", "1000")
    assert done.returncode == 0, done.stderr
    return {call["call_id"]: call for call in json.loads(done.stdout)}


def recorded_ids(path: Path) -> set[str]:
    bodies = (json.loads(line)["body"] for line in path.read_text().splitlines())
    return {call["id"] for body in bodies for entry in body["entry"] for call in entry["calls"]}


@pytest.mark.parametrize("name", ["gives-up", "terminate-first", "duplicates"])
def test_a_replay_is_live_and_no_duplicate(line: Line, name: str) -> None:
    recording = RECORDINGS / f"{name}.jsonl"
    before = listed(line)
    report = replayed(line, str(recording), "--speed", "10")
    assert report["posted"] == report["accepted"] == len(recording.read_text().splitlines())
    again = replayed(line, str(recording), "--speed", "0")
    assert again["accepted"] == report["accepted"]
    fresh = listed(line).keys() - before.keys()
    assert len(fresh) == 2
    assert not fresh & recorded_ids(recording)


def test_a_replay_as_recorded_keeps_ids_and_times(line: Line) -> None:
    replayed(line, str(RECORDINGS / "terminate-first.jsonl"), "--as-recorded", "--speed", "0")
    (call_id,) = recorded_ids(RECORDINGS / "terminate-first.jsonl")
    assert call_id in listed(line)
    told = json.loads(pageline(line, "call", call_id, "--json").stdout)
    arrived = next(fact for fact in told["timeline"] if fact["fact"] == "Arrived")
    assert arrived["sent_at_ms"] == 1_789_999_999_000


def test_every_sample_of_the_reference_can_be_replayed(line: Line) -> None:
    samples = sorted(str(path) for path in SAMPLES.glob("messenger-*.json"))
    report = replayed(line, *samples, "--speed", "0")
    assert report["accepted"] == len(samples)


def test_a_broken_recording_is_named_with_its_line(line: Line, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"at_ms": 1, "body": {}}\n{"at_ms": \n')
    done = pageline(line, "replay", str(broken), "--to", f"{line.base}/webhook")
    assert done.returncode == 1
    assert "broken.jsonl, line 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_exported_call_holds_no_ids_and_can_be_replayed(line: Line, meta: Meta, tmp_path: Path) -> None:
    consumer: Consumer = meta.consumer().ring()
    line.await_fact(consumer, facts.LegConnected)
    consumer.hang_up()
    line.outcome_of(consumer)
    exported = pageline(line, "call", consumer.call_id, "--export")
    assert exported.returncode == 0, exported.stderr
    arrived = line.await_fact(consumer, facts.Arrived)
    for private in (consumer.call_id, arrived.consumer, arrived.page):
        assert private not in exported.stdout
    recording = tmp_path / "exported.jsonl"
    recording.write_text(exported.stdout)
    events = [json.loads(post)["body"]["entry"][0]["calls"][0]["event"] for post in exported.stdout.splitlines()]
    assert events == ["connect", "terminate"]
    assert replayed(line, str(recording), "--speed", "0")["accepted"] == 2
