"""The trace of a call: its spans, folded from the log, and what switches it on."""

import subprocess
import sys
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from shared.calls import facts, trace
from tests.unit.test_why import ACCEPTING, ANSWER, ARRIVED, ARRIVED_MS, CALLING, CLAIMED, GONE, LIVE, at, closed
from workers.media.tracing import open_tracing, why_not

SENT = replace(ARRIVED, sent_at_ms=ARRIVED_MS - 40)
ENDED = at(60_390, facts.HandlerEnded(how="returned"))
WHOLE = (SENT, *LIVE[1:], ENDED, GONE, closed(first_packet_ms=15.0), at(60_450, facts.Closed(outcome="completed")))


def spans(*log: facts.Fact) -> dict[str, tuple[int, int]]:
    """Return each span's time, in milliseconds since the call arrived."""
    return {span.name: (span.start_ms - ARRIVED_MS, span.end_ms - ARRIVED_MS) for span in trace.spans(log)}


def test_the_way_from_the_webhook_to_the_first_packet_has_no_gap() -> None:
    answered = replace(ANSWER, graph_ms=165)
    told = tuple(answered if fact is ANSWER else fact for fact in WHOLE)
    assert spans(*told) == {
        "webhook": (-40, 0),
        "claim": (0, 10),
        "handler start": (10, 15),
        "offer": (15, 20),
        "accept queued": (20, 30),
        "graph accept": (35, 200),
        "answer delivered": (200, 320),
        "ice and dtls": (320, 400),
        "talk": (400, 60_390),
        "handler": (15, 60_390),
    }
    assert trace.began_ms(told) == ARRIVED_MS - 40
    assert [(moment.name, moment.at_ms - ARRIVED_MS) for moment in trace.moments(told)] == [
        ("first packet out", 400),
        ("first packet in", 415),
    ]


def test_a_webhook_that_meta_sends_again_an_hour_later_or_by_a_clock_ahead_of_ours_makes_no_span() -> None:
    for sent_at_ms in (ARRIVED_MS - 3_600_000, ARRIVED_MS + 5_000):
        log = (replace(ARRIVED, sent_at_ms=sent_at_ms), CLAIMED)
        assert "webhook" not in spans(*log)
        assert trace.began_ms(log) == ARRIVED_MS


def test_a_call_that_was_taken_over_shows_both_workers() -> None:
    taken = [
        (span.attributes["worker"], span.attributes["taken_over"])
        for span in trace.spans((*LIVE, at(9_000, facts.Claimed(worker="two"), epoch=2)))
        if span.name == "claim"
    ]
    assert taken == [("one", False), ("two", True)]


def test_what_graph_refused_says_how_to_find_it_at_meta() -> None:
    failed = at(300, facts.ActionFailed(action="accept", cause="graph", code=100, status=400, fbtrace_id="Abc"))
    (span,) = [span for span in trace.spans((*ACCEPTING, failed)) if span.name == "graph accept"]
    assert (span.start_ms - ARRIVED_MS, span.end_ms - ARRIVED_MS, span.error) == (30, 300, "graph")
    assert (span.attributes["status"], span.attributes["fbtrace_id"]) == (400, "Abc")


def test_media_that_did_not_connect_is_a_span_that_failed() -> None:
    gone = at(10_200, facts.LegFailed(reason="no media connection within 10 s; is outbound UDP allowed?"))
    (span,) = [span for span in trace.spans((*ACCEPTING, ANSWER, gone)) if span.name == "ice and dtls"]
    assert (span.end_ms - span.start_ms, span.error) == (10_000, "not connected")


def test_a_call_that_we_place_has_the_same_trace() -> None:
    told = spans(*CALLING, at(900, facts.LegConnected(setup_ms=80)))
    assert {"claim", "connect queued", "graph connect", "answer delivered", "ice and dtls"} <= told.keys()


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ""),
        (ENDPOINT, None),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, ""),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_traces_are_off_unless_the_standard_variables_name_a_collector(
    environ: Mapping[str, str], expected: str | None
) -> None:
    assert why_not(environ) == expected


def test_a_protocol_that_we_do_not_speak_is_said_and_costs_no_call() -> None:
    environ = {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert "http/protobuf" in str(why_not(environ))
    assert open_tracing(environ) is None


def test_nobody_pays_for_traces_who_sends_none() -> None:
    """What redis-py imports for its own metrics, where OpenTelemetry happens to be installed, is its affair."""
    look = (
        "import sys, ingress.app, workers.media.main, workers.action.main as _; from workers.media import tracing;"
        "assert tracing.open_tracing({}) is None;"
        "senders = ('opentelemetry.exporter', 'opentelemetry.sdk.trace');"
        "print([name for name in sys.modules if name.startswith(senders)])"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
