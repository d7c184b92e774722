"""An access token expires, and what an operator sees and does: degraded, dead letters, retry."""

import json
import os
import subprocess
import sys
from typing import Any

import httpx

from tests.acceptance.line import PAGES, Line, readiness
from tests.acceptance.standin import Consumer, Meta, Reply, graph_error, until

EXPIRED = Reply(body=graph_error("token-expired"))


def dead(line: Line, *arguments: str, status: int = 0) -> Any:
    """Return what `pageline dead ... --json` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "pageline", "dead", *arguments, "--json"],
        env={**os.environ, **line.settings},
        cwd=line.home,
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def call_without_a_token(line: Line, meta: Meta) -> Consumer:
    consumer = meta.consumer(PAGES["forward"])
    consumer.replies["accept"], consumer.replies["reject"] = [EXPIRED], [EXPIRED]
    assert line.outcome_of(consumer.ring()) == "failed"
    return consumer


def kept(line: Line) -> int:
    shown = httpx.get(f"{line.base}/metrics").text
    return int(float(shown.partition("\npageline_dead_letters_kept ")[2].split("\n")[0]))


def test_an_expired_token_is_told_keeps_nobody_from_being_answered_and_its_farewells_are_said_later(
    line: Line, meta: Meta
) -> None:
    consumers = [call_without_a_token(line, meta) for _ in range(3)]
    until(lambda: readiness(line.base) == "degraded", "the breaker to trip")
    (told,) = httpx.get(f"{line.base}/readyz").json()["degraded"]
    assert PAGES["forward"] in told
    assert "has expired" in told

    answered = meta.consumer(PAGES["forward"]).ring()
    answered.await_sound(0.3)
    answered.hang_up()
    assert line.outcome_of(answered) == "completed"
    until(lambda: readiness(line.base) == "ready", "the breaker to be reset")

    letters = dead(line, "list")[::-1]
    assert [letter["action"] for letter in letters] == ["accept", "reject"] * 3
    shown = dead(line, "show", letters[1]["id"])
    assert (shown["call_id"], shown["attempts"][0]["code"]) == (consumers[0].call_id, 190)
    retried = dead(line, "retry", "--all", status=1)
    assert [each["done"] for each in retried] == [False, True] * 3, "who rang then cannot be answered any more"
    until(lambda: kept(line) == 3, "the farewells to be said")
    assert [len(consumer.actions("reject")) for consumer in consumers] == [2, 2, 2]
    assert [len(consumer.actions("accept")) for consumer in consumers] == [1, 1, 1]
    assert all(each["done"] for each in dead(line, "drop", "--all"))
    assert dead(line, "list") == []
