"""What goes to Meta around calls, through real processes: every body is held against the documented schema there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from shared.calls import facts
from tests.acceptance.line import PAGES, PIPELINE, Line
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until

REPORTED_WITHIN_S: Final = 25.0
"""A call's end is left alone for some seconds before it is reported."""

MEASURED_UNDECODED: Final = {"jitter_sec", "packets_lost", "packets_received", "round_trip_time_sec"}


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def line(simulated: SimulatedMeta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Line(tmp_path_factory.mktemp("around"), simulated) as running:
        running.processes["sim"] = simulated.start(running.home)
        running.start(*PIPELINE)
        yield running.await_ready()


# --- messages ---


def pageline(line: Line, *arguments: str) -> dict[str, Any]:
    """Write on behalf of a Page by a command, and return what it prints."""
    command = [sys.executable, "-m", "pageline", *arguments, "--page", PAGES["echo"], "--json"]
    env = {**os.environ, **line.settings}
    done = subprocess.run(command, env=env, cwd=line.home, capture_output=True, check=False, timeout=60)
    assert done.stdout, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if told["sent"] else 1)
    return told


@pytest.mark.meta("7.4-prompt", "7.5-button")
@pytest.mark.parametrize(
    "arguments",
    [
        ("message", "2001", "Hello"),
        ("message", "2001", "We are open.", "--button", "Call now", "--days", "7"),
        ("message", "2001", "We are open.", "--title", "The shop", "--button", "Call now"),
        ("call-prompt", "2001", "--ttl-days", "5"),
        ("optin", "2001"),
    ],
    ids=" ".join,
)
def test_every_kind_of_message_is_taken(line: Line, simulated: SimulatedMeta, arguments: tuple[str, ...]) -> None:
    told = pageline(line, *arguments)
    assert told["sent"], told
    assert told["message_id"].startswith("m_")
    assert simulated.asked("messages")[-1]["status"] == 200


@pytest.mark.meta("5.2-two-a-day")
def test_the_third_permission_request_of_a_day_is_refused_and_says_why(line: Line) -> None:
    assert [pageline(line, "optin", "2002")["sent"] for _ in range(3)] == [True, True, False]
    assert pageline(line, "optin", "2002")["code"] == 613


def test_a_handler_writes_before_during_and_after_its_call(line: Line, simulated: SimulatedMeta) -> None:
    ours = simulated.ring(PAGES["write"], "2003", hang_up_after_s=1)["call_id"]
    simulated.wait(ours)
    until(lambda: any(isinstance(fact, facts.Closed) for fact in line.log_of(ours)), f"the end of {ours}")

    written = [one["body"]["message"] for one in simulated.asked("messages", page=PAGES["write"], status=200)]
    text, button, prompt = written
    assert text == {"text": "We will call you back."}
    assert button["attachment"]["payload"]["buttons"][0]["title"] == "Call us"
    assert prompt["attachment"]["payload"] == {"template_type": "call_prompt", "ttl_days": 5}
    log = line.log_of(ours)
    assert [fact.kind for fact in log if isinstance(fact, facts.MessageSent)] == ["text", "call_button", "call_prompt"]
    assert "call you back" not in repr(log)


# --- metrics ---


class Reported(NamedTuple):
    """A call that has ended, and what Meta was told of it."""

    log: list[facts.Fact]
    requests: list[dict[str, Any]]

    def first(self, kind: type[facts.Fact]) -> Any:
        return next(fact for fact in self.log if isinstance(fact, kind))


@pytest.fixture(scope="module")
def reported(line: Line, simulated: SimulatedMeta) -> dict[str, Reported]:
    """Calls of four seconds, by their handlers."""
    handlers = ("echo", "forward", "minutes")
    ids = {
        each: simulated.ring(PAGES[each], f"300{n}", hang_up_after_s=4)["call_id"] for n, each in enumerate(handlers)
    }

    def of(call_id: str) -> Reported:
        until(
            lambda: simulated.asked("call_metrics", call_id=call_id, status=200), "metrics", timeout_s=REPORTED_WITHIN_S
        )
        return Reported(line.log_of(call_id), simulated.asked("call_metrics", call_id=call_id))

    return {handler: of(call_id) for handler, call_id in ids.items()}


@pytest.mark.meta("8-ended", "8-jitter-buffer", "8-played", "8-last")
@pytest.mark.parametrize("handler", ["echo", "minutes"])
def test_meta_takes_what_was_measured(reported: dict[str, Reported], handler: str) -> None:
    call = reported[handler]
    (request,) = call.requests
    body, closed = request["body"], call.first(facts.LegClosed)
    assert body["end_call_reason"] == "Hangup_Call"
    assert body["end_call_subreason"] == "the consumer hung up"
    assert body["call_ended_time"] == call.first(facts.Terminated).at_ms // 1000
    connected_s = call.first(facts.LegConnected).at_ms // 1000
    assert connected_s <= body["first_audio_packet_received_time"] <= body["call_ended_time"]
    stats = body["audio_stats"]
    assert stats["packets_received"] == closed.packets_received >= 100
    assert stats["total_samples_duration_sec"] * 1000 == pytest.approx(closed.played_ms)
    assert stats["round_trip_time_sec"] * 1000 == pytest.approx(closed.round_trip_total_ms, abs=0.01)
    waited_ms = stats["jitter_buffer_delay_sec"] / stats["total_samples_duration_sec"] / 48
    assert 0 < waited_ms <= closed.jitter_buffer_ms + 0.01, "the mean over what was heard, pauses included"


@pytest.mark.meta("8-nulls")
def test_what_nobody_measured_is_absent_and_0_where_meta_insists(reported: dict[str, Reported]) -> None:
    """Sound that was passed on undecoded; the simulator takes the table at its word, that every figure is required."""
    first, second = reported["forward"].requests
    assert first["body"]["audio_stats"].keys() == MEASURED_UNDECODED
    assert first["status"] == 400
    assert second["status"] == 200
    added = second["body"]["audio_stats"].keys() - MEASURED_UNDECODED
    assert {second["body"]["audio_stats"][name] for name in added} == {0}
