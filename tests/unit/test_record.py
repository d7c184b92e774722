"""What a call's record says, from logs that are written here."""

from datetime import UTC, datetime
from typing import Final

import msgspec
import pytest

from shared.calls import facts
from shared.calls.record import Record, record_of
from shared.pseudonyms import pseudonym
from shared.records.columns import COLUMNS, row

PAGE: Final = "106378625516323"
PSID: Final = "5275811702471834"
AT_MS: Final = 1_700_000_000_000


def log(*told: tuple[int, facts.Fact], epoch: int = 1) -> list[facts.Fact]:
    """Return facts, each at so many milliseconds after the first."""
    said_by_owner = (facts.FromUs, facts.FromLeg, facts.Claimed, facts.Closed)
    return [
        msgspec.structs.replace(
            fact, at_ms=AT_MS + after_ms, epoch=epoch if isinstance(fact, said_by_owner) and after_ms else 0
        )
        for after_ms, fact in told
    ]


def rings() -> tuple[tuple[int, facts.Fact], ...]:
    arrived = facts.Arrived(
        page=PAGE, consumer=PSID, direction="user_initiated", sent_at_ms=AT_MS, answer_by_ms=AT_MS + 55_000
    )
    return (0, arrived), (1, facts.Claimed(worker="one")), (2, facts.HandlerStarted(handler="shop:reception"))


def talks() -> tuple[tuple[int, facts.Fact], ...]:
    return (
        *rings(),
        (300, facts.OfferMade(sdp="v=0")),
        (400, facts.ActionGranted(action="accept")),
        (600, facts.AnswerReceived(sdp="v=0")),
        (2_000, facts.LegConnected(setup_ms=80)),
    )


def ends(after_ms: int, *facts_: facts.Fact, outcome: str) -> tuple[tuple[int, facts.Fact], ...]:
    return (*((after_ms, fact) for fact in facts_), (after_ms + 5, facts.Closed(outcome=outcome)))


def recorded(told: list[facts.Fact], **options: bool) -> Record:
    record = record_of("c_1", told, **options)
    assert record is not None
    return record


def test_a_conversation_that_the_consumer_ends() -> None:
    told = log(
        *talks(),
        (3_000, facts.RecordingStarted(path="s3://calls/one.opus")),
        (4_000, facts.RecordingStarted(path="two.opus")),
        *ends(
            12_500,
            facts.Terminated(status="completed", duration_s=10),
            facts.HandlerEnded(how="cancelled"),
            facts.LegClosed(packets_received=500, packets_sent=500, jitter_ms=4.0, peer_reports=2),
            outcome="completed",
        ),
        (20_000, facts.RecordingStored(path="s3://calls/one.opus", size=10)),
    )
    record = recorded(told)
    assert (record.page, record.consumer, record.psid) == (PAGE, pseudonym(PSID), None)
    assert (record.meta_id, record.direction, record.handler) == ("c_1", "user_initiated", "shop:reception")
    assert record.arrived_at == datetime.fromtimestamp(AT_MS / 1000, UTC)
    assert record.placed_at is None
    assert (record.ring_s, record.talk_s, record.total_s) == (2.0, 10.5, 12.5)
    assert (record.outcome, record.because, record.ended_by) == ("completed", "ended_at_meta", "consumer")
    assert (record.handler_ended, record.handler_error) == ("cancelled", None)
    assert record.quality is not None
    assert record.quality.jitter_ms == 4.0
    assert record.recordings == ("s3://calls/one.opus", "two.opus")
    assert recorded(told, with_psid=True).psid == PSID


def test_a_handler_that_raises() -> None:
    failed = facts.HandlerEnded(how="raised", error="KeyError: 'shop'", traceback="Traceback ...")
    record = recorded(log(*talks(), *ends(5_000, failed, facts.LegClosed(), outcome="completed")))
    assert (record.because, record.ended_by) == ("handler_raised", "handler")
    assert (record.handler_ended, record.handler_error) == ("raised", "KeyError: 'shop'")
    assert record.why == "The handler raised KeyError: 'shop'."


def test_an_error_that_names_the_consumer_does_so_only_where_the_psid_is_wanted() -> None:
    failed = facts.HandlerEnded(how="raised", error=f"KeyError: '{PSID}'\nand more")
    told = log(*talks(), *ends(5_000, failed, facts.LegClosed(), outcome="completed"))
    assert recorded(told).handler_error == f"KeyError: '{pseudonym(PSID)}'"
    assert PSID not in str(recorded(told))
    assert recorded(told, with_psid=True).handler_error == f"KeyError: '{PSID}'"


def test_a_call_that_nobody_answered() -> None:
    record = recorded(log(*rings(), *ends(55_000, facts.DeadlinePassed(deadline_ms=AT_MS + 55_000), outcome="missed")))
    assert (record.answered_at, record.talk_s, record.ring_s, record.ended_by) == (None, None, 55.0, "pageline")
    assert record.ended_cause == "time"
    assert record.quality is None


def test_a_call_of_ours_that_is_not_picked_up() -> None:
    placed = facts.Placed(page=PAGE, consumer=PSID, call_by_ms=AT_MS + 60_000)
    record = recorded(
        log(
            (0, placed),
            (1, facts.Claimed(worker="one")),
            (2, facts.HandlerStarted(handler="shop:remind")),
            (100, facts.PermissionRead(status="has_permission", may_call=True, may_ask=False)),
            (300, facts.OfferMade(sdp="v=0")),
            (400, facts.ActionGranted(action="connect")),
            (1_000, facts.ConnectAnswered(meta_id="c_9", sdp="v=0", for_epoch=1)),
            *ends(
                9_000, facts.Terminated(status="completed"), facts.HandlerEnded(how="cancelled"), outcome="unreached"
            ),
        )
    )
    assert (record.call_id, record.meta_id, record.direction) == ("c_1", "c_9", "business_initiated")
    assert record.placed_at is not None
    assert (record.arrived_at, record.ring_s, record.total_s) == (None, 8.0, 9.0)
    assert (record.outcome, record.because, record.ended_by) == ("unreached", "declined_or_unanswered", "consumer")


@pytest.mark.parametrize("told", [[], log(*rings()), log(*talks(), (9_000, facts.Terminated(status="completed")))])
def test_what_is_not_over_has_no_record(told: list[facts.Fact]) -> None:
    assert record_of("c_1", told) is None


@pytest.mark.parametrize("length", range(2, len(talks()) + 1))
def test_a_log_that_breaks_off_anywhere_and_is_closed_has_one(length: int) -> None:
    record = recorded(log(*talks()[:length], (60_000, facts.Closed(outcome="lost"))))
    assert record.outcome == "lost"
    assert record.total_s == 60.0
    assert set(row(record)) == set(COLUMNS)
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record


def test_a_record_that_an_older_version_wrote_is_read() -> None:
    """Dead letters hold records; they may lie for long."""
    written = msgspec.to_builtins(recorded(log(*talks(), (60_000, facts.Closed(outcome="lost")))))
    del written["ended_cause"]
    assert msgspec.convert(written, Record).ended_cause is None
