"""What goes to Meta around a call, through real processes: what a handler writes, and how the call went."""

from typing import Final

from shared.calls import facts
from tests.acceptance.line import PAGES, Line
from tests.acceptance.standin import Meta, until

REPORTED_WITHIN_S: Final = 20.0
"""A call's end is left alone for some seconds before it is reported."""


def test_a_handler_writes_before_during_and_after_the_call(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["write"], hz=700).ring()
    consumer.await_sound(0.5)
    consumer.hang_up()
    assert line.outcome_of(consumer) == "completed"

    button = {"type": "audio_call", "title": "Call us", "expires_in_days": 2}
    assert consumer.messages() == [
        {"text": "We will call you back."},
        {
            "attachment": {
                "type": "template",
                "payload": {"template_type": "button", "text": "Or call us.", "buttons": [button]},
            }
        },
        {"attachment": {"type": "template", "payload": {"template_type": "call_prompt", "ttl_days": 5}}},
    ]
    log = line.log_of(consumer.call_id)
    sent = [fact for fact in log if isinstance(fact, facts.MessageSent)]
    assert [fact.kind for fact in sent] == ["text", "call_button", "call_prompt"]
    assert "call you back" not in repr(log)


def test_meta_is_told_how_a_call_went_by_what_was_measured(line: Line, meta: Meta) -> None:
    consumer = meta.consumer(PAGES["minutes"], hz=700).ring()
    consumer.await_sound(2)
    consumer.hang_up()
    closed = line.await_fact(consumer, facts.LegClosed)

    (report,) = until(consumer.reports, f"metrics of {consumer.call_id}", timeout_s=REPORTED_WITHIN_S)

    assert report["end_call_reason"] == "Hangup_Call"
    assert report["end_call_subreason"] == "the consumer hung up"
    terminated = line.await_fact(consumer, facts.Terminated)
    connected = line.await_fact(consumer, facts.LegConnected)
    assert report["call_ended_time"] == terminated.at_ms // 1000
    assert connected.at_ms // 1000 <= report["first_audio_packet_received_time"] <= report["call_ended_time"]
    stats = report["audio_stats"]
    assert stats["packets_received"] == closed.packets_received >= 50
    assert stats["total_samples_duration_sec"] * 1000 == round(closed.played_ms, 3) >= 1500
    assert 0 < stats["jitter_buffer_delay_sec"] / stats["total_samples_duration_sec"] / 48_000 < 0.4, "s, a sample"
    assert None not in {**report, **stats}.values()
