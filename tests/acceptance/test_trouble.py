"""What a caller gets when Graph, the handler or the number of workers fails them."""

import json
import signal
from collections.abc import Iterator

import pytest

from shared.calls import facts
from tests.acceptance.line import DRAIN_SECONDS, PAGES, PIPELINE, Line
from tests.acceptance.standin import Meta, Reply, dominant_hz, graph_error


@pytest.mark.meta("4.3-permission")
def test_graphs_refusal_reaches_the_handler_and_the_call_is_rejected(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["witness"])
    refusal = graph_error("token-expired")
    consumer.replies["accept"] = [Reply(body=refusal)]
    consumer.ring().await_action("reject")
    assert line.outcome_of(consumer) == "failed"
    seen = json.loads((line.home / f"{consumer.call_id}.json").read_text())
    assert seen == {"code": 190, "subcode": 463, "fbtrace_id": refusal["error"]["fbtrace_id"]}
    assert [request.action for request in consumer.actions()] == ["accept", "reject"]
    assert line.dead_letters()["action_graph"] >= 1


@pytest.mark.meta("4.3-over")
def test_a_call_that_ended_before_our_answer_came_needs_no_farewell(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["witness"])
    consumer.replies["accept"] = [Reply(body=graph_error("call-ended-as-subcode"))]
    assert line.outcome_of(consumer.ring()) == "failed"
    assert [request.action for request in consumer.actions()] == ["accept"]


def test_a_transient_error_is_tried_again_and_the_call_answered(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer.replies["accept"] = [Reply(body=graph_error("transient")), Reply(status=500)]
    consumer.ring().await_sound(0.5)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 3


def test_a_slow_graph_is_waited_for(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer.replies["accept"] = [Reply(act=True, after_s=1.5)]
    consumer.ring().await_sound(0.3)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    assert len(consumer.actions("accept")) == 1
    assert line.await_fact(consumer, facts.AnswerReceived).graph_ms >= 1500


def test_a_reply_that_got_lost_is_asked_for_once_more_with_the_same_offer(line: Line, meta: Meta) -> None:
    consumer = meta.consumer()
    consumer.replies["accept"] = [Reply(status=0)]
    consumer.ring().await_sound(0.3)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"
    first, second = consumer.actions("accept")
    assert first.body == second.body


def test_a_call_that_meta_may_have_accepted_is_terminated_when_asking_again_fails(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["witness"])
    consumer.replies["accept"] = [Reply(status=0), Reply(body=graph_error("transient"))]
    consumer.ring().await_action("terminate")
    assert line.outcome_of(consumer) == "failed"
    assert [request.action for request in consumer.actions()] == ["accept", "accept", "terminate"]


def test_goodbye_is_said_again_until_graph_takes_it(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["stumble"])
    consumer.replies["terminate"] = [Reply(status=0), Reply(body=graph_error("transient"))]
    assert line.outcome_of(consumer.ring()) == "completed"
    assert len(consumer.actions("terminate")) == 3


def test_a_handler_that_raises_ends_its_call_and_the_log_says_where(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["stumble"]).ring()
    consumer.await_action("terminate")
    assert line.outcome_of(consumer) == "completed"
    ended = line.await_fact(consumer, facts.HandlerEnded)
    assert ended.how == "raised"
    assert ended.error == "LookupError: the receptionist stumbled over the carpet"
    assert "reception.py" in ended.traceback
    assert "in stumble" in ended.traceback
    assert "handler.raised" in line.processes["media"].said
    assert dominant_hz(consumer.sound()) == pytest.approx(440, abs=5), "the pilot tone under the words of apology"


@pytest.fixture(scope="module")
def small_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Meta() as meta, Line(tmp_path_factory.mktemp("small"), meta) as running:
        running.start(*PIPELINE, MEDIA_CAPACITY="1", ACCEPT_DEADLINE_SECONDS="4")
        yield running.await_ready()


def test_a_call_that_finds_no_room_is_rejected_on_the_record_and_the_one_before_goes_on(small_line: Line) -> None:
    meta = small_line.meta
    first = meta.consumer().ring()
    first.await_sound(0.3)
    second = meta.consumer().ring()
    second.await_action("reject", timeout_s=8)
    assert small_line.outcome_of(second) == "expired"
    assert not second.actions("accept")
    first.await_sound(0.3)
    first.hang_up()
    assert small_line.outcome_of(first) == "completed"


def test_a_call_that_waited_is_answered_as_soon_as_there_is_room(small_line: Line) -> None:
    meta = small_line.meta
    first = meta.consumer().ring()
    first.await_sound(0.3)
    second = meta.consumer().ring()
    assert not second.actions()
    first.hang_up()
    second.await_sound(0.3)
    second.hang_up()
    assert small_line.outcome_of(second) == "completed"


def test_processes_told_to_end_all_together_still_say_goodbye_to_a_caller(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Meta() as meta, Line(tmp_path_factory.mktemp("ending"), meta) as line:
        line.start(*PIPELINE)
        line.await_ready()
        consumer = meta.consumer().ring()
        consumer.await_sound(0.3)
        for process in line.processes.values():
            process.signal(signal.SIGTERM)
        consumer.await_action("terminate", timeout_s=DRAIN_SECONDS + 5)
        assert [process.wait() for process in line.processes.values()] == [0, 0, 0]
        assert line.outcome_of(consumer) == "completed"
