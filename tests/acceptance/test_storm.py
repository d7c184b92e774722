"""A small storm, as `make storm` brings a large one: the zeros, and that they are not zeros because nobody looked."""

import json
import subprocess
import sys
from typing import Any

import pytest

from pageline.bench.storm.graph import Accept, Reply, is_double
from pageline.bench.storm.planted import BUGS

CALLS = 300
ENDS_WITHIN_S = 110
"""Most of a small storm is waiting: a killed worker's lease and jobs have to run out."""

FOUND_WRONG = ("lost", "kept_twice", "double_accepts", "without_outcome")


def begin(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pageline", "bench", "storm", "--calls", str(CALLS), "--kill-every-s", "2"]
    return subprocess.Popen([*command, "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(storm: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """Wait for a storm's end; return its exit status and what it printed, exactly one JSON value."""
    try:
        printed, chatter = storm.communicate(timeout=ENDS_WITHIN_S)
    finally:
        storm.kill()
    assert printed, chatter
    return storm.returncode, json.loads(printed)


@pytest.mark.timeout(ENDS_WITHIN_S + 20)
def test_a_storm_loses_nothing_and_does_nothing_twice_unless_a_bug_is_planted() -> None:
    sound, planted = begin("--seed", "3"), begin("--seed", "3", "--plant", "double-accept")
    try:
        status, report = end(sound)
        assert {name: report[name] for name in FOUND_WRONG} == dict.fromkeys(FOUND_WRONG, 0), report["suspects"]
        assert (status, report["pass"], report["calls"]) == (0, True, CALLS)
        assert report["kills"] >= 5
        assert report["duplicates_sent"] > CALLS / 2
        assert report["takeovers"] > 0
        assert sum(report["outcomes"].values()) == CALLS
        status, report = end(planted)
        assert report["double_accepts"] > 0
        assert (status, report["pass"], report["lost"]) == (1, False, 0)
    finally:
        sound.kill()
        planted.kill()


def sent(*replies: tuple[Reply, bool], offers: str = "") -> list[Accept]:
    return [Accept((offers or "o" * len(replies))[n], reply, knows) for n, (reply, knows) in enumerate(replies)]


@pytest.mark.parametrize(
    "accepts",
    [
        sent((Reply.DONE, False)),
        sent((Reply.BUSY, True), (Reply.BUSY, True), (Reply.DONE, False)),
        sent((Reply.CUT, False), (Reply.DONE, False)),
        sent((Reply.BROKEN, True), (Reply.DONE, False)),
        sent((Reply.DONE, False), (Reply.DONE, False)),
    ],
    ids=["once", "again as Graph allows", "a probe", "a probe after a broken reply", "a probe by a successor"],
)
def test_an_accept_may_be_repeated_as_the_design_allows(accepts: list[Accept]) -> None:
    assert not is_double(accepts)


@pytest.mark.parametrize(
    "accepts",
    [
        sent((Reply.DONE, True), (Reply.DONE, False)),
        sent((Reply.OVER, True), (Reply.DONE, False)),
        sent((Reply.CUT, False), (Reply.DONE, False), offers="ab"),
        sent((Reply.BUSY, True), (Reply.DONE, False), offers="ab"),
        sent((Reply.CUT, False), (Reply.CUT, False), (Reply.DONE, False)),
        sent((Reply.CUT, False), (Reply.BUSY, True), (Reply.DONE, False)),
    ],
    ids=["after an answer", "after a refusal", "another offer", "another offer again", "two probes", "after a probe"],
)
def test_any_other_repeat_of_an_accept_is_a_double(accepts: list[Accept]) -> None:
    assert is_double(accepts)


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_that_can_be_planted_finds_what_it_takes_out(bug: str) -> None:
    loaded = (
        "from shared.bus import Bus; from shared.wire import Wire; from pageline.bench.storm.planted import plant; "
        f"plant({bug!r}); Bus(Wire.from_url('redis://127.0.0.1:1/0'))"
    )
    process = subprocess.run([sys.executable, "-c", loaded], check=False, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_a_plant_of_no_known_bug_is_bad_usage() -> None:
    storm = begin("--plant", "weeds")
    assert storm.communicate(timeout=ENDS_WITHIN_S)[0] == ""
    assert storm.returncode == 2
