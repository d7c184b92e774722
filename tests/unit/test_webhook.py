"""Webhook bodies as facts: every sample of Meta's, every documented spelling, and whatever else may be signed."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calls import facts
from shared.meta import webhook

WEBHOOKS: Final = Path(__file__).parent.parent / "fixtures" / "webhooks"
SDP: Final = Path(__file__).parent.parent / "fixtures" / "sdp"

PAGE = "106378625516323"
CONSUMER = "5275811702471834"
INBOUND = "c_M5YPhGE5jm0L_PMQdScLlYJlR7tU_f0rgXiTQ"
OUTBOUND = "c_K7bQnVd0Lw3R_ZtAhYu8sXpFe2mJ_c9GoWrE4yBg"

NOW_MS = 1_671_644_825_000
WINDOW_MS = 55_000


def read(body: bytes, *, now_ms: int = NOW_MS) -> webhook.Received:
    return webhook.read(body, now_ms=now_ms, answer_window_ms=WINDOW_MS)


def read_elements(*elements: Any, page: Any = PAGE) -> webhook.Received:
    return read(json.dumps({"object": "page", "entry": [{"id": page, "time": 1, "calls": elements}]}).encode())


def only(received: webhook.Received) -> webhook.CallEvent:
    assert received.unreadable == []
    (event,) = received.events
    return event


def connect(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "c_1",
        "to": PAGE,
        "from": CONSUMER,
        "event": "connect",
        "timestamp": 1671644824,
        "call_direction": "user_initiated",
    }
    return {**plain, **changes}


def terminate(**changes: Any) -> dict[str, Any]:
    return {"id": "c_1", "event": "terminate", "timestamp": 1, "status": "Completed", **changes}


def media_update(session: Any) -> dict[str, Any]:
    return {"id": "c_1", "event": "media_update", "timestamp": 1, "session": session}


# -- Meta's samples ----------------------------------------------------------------------------------------------------


def arrived(page: str, sent_s: int, direction: str = "user_initiated") -> facts.Arrived:
    sent_at_ms = sent_s * 1000
    return facts.Arrived(
        page=page,
        consumer=CONSUMER,
        direction=direction,
        sent_at_ms=sent_at_ms,
        answer_by_ms=min(sent_at_ms, NOW_MS) + WINDOW_MS,
    )


def offered(sample: str) -> str:
    body = json.loads((WEBHOOKS / sample).read_text())
    sdp: str = body["entry"][0]["calls"][0]["session"]["sdp_renegotiation"]["sdp"]
    return sdp


def ended(status: str, end_s: int, duration_s: int | None = None) -> facts.Terminated:
    return facts.Terminated(status=status, duration_s=duration_s, start_s=1671644824, end_s=end_s)


SAMPLES: Final[dict[str, list[tuple[str, facts.Fact]]]] = {
    "connect-user-initiated": [(INBOUND, arrived(PAGE, 1671644824))],
    "connect-business-initiated": [(OUTBOUND, arrived(PAGE, 1671644824, "business_initiated"))],
    "call-status-ringing": [(OUTBOUND, facts.StatusChanged(status="ringing", page=PAGE, consumer=CONSUMER))],
    "call-status-accepted": [(OUTBOUND, facts.StatusChanged(status="accepted", page=PAGE, consumer=CONSUMER))],
    "media-update-pickup": [
        (OUTBOUND, facts.MediaChanged(version=1, sdp=offered("messenger-media-update-pickup.json")))
    ],
    "media-update-consumer-video": [
        (INBOUND, facts.MediaChanged(version=2, sdp=offered("messenger-media-update-consumer-video.json")))
    ],
    "terminate-completed": [(INBOUND, ended("completed", 1671644944, 120))],
    "terminate-failed": [(INBOUND, ended("failed", 1671644870))],
    "terminate-unanswered": [(INBOUND, ended("completed", 1671644884))],
    "batch-out-of-order": [
        (INBOUND, ended("completed", 1671644944, 120)),
        (INBOUND, arrived(PAGE, 1671644824)),
        (OUTBOUND, arrived("108812345678901", 1671644880)),
    ],
    "call-permission-reply-approve": [],
    "call-permission-reply-approve-in-messaging": [],
    "call-permission-reply-reject": [],
    "call-settings-update": [],
}
OTHER_FIELDS: Final = {
    "call-permission-reply-approve": ["call_permission_reply"],
    "call-permission-reply-approve-in-messaging": ["messaging"],
    "call-permission-reply-reject": ["call_permission_reply"],
    "call-settings-update": ["call_settings"],
}


@pytest.mark.meta("3.0-envelope", "7.6-webhook")
def test_every_messenger_sample_has_its_line_here() -> None:
    there = {path.stem.removeprefix("messenger-") for path in WEBHOOKS.glob("messenger-*.json")}
    assert there == set(SAMPLES)


@pytest.mark.meta(
    "3.0-envelope",
    "3.1-connect",
    "3.1-direction",
    "3.1-events",
    "3.2-ringing",
    "3.2-recipient",
    "3.4-terminate",
    "3.4-times",
)
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_of_metas_is_read_as_these_facts(sample: str) -> None:
    received = read((WEBHOOKS / f"messenger-{sample}.json").read_bytes())
    assert [(event.call_id, event.fact) for event in received.events] == SAMPLES[sample]
    assert received.unreadable == []
    assert set(received.other_fields) == set(OTHER_FIELDS.get(sample, []))


REPLIES: Final = {
    "approve": facts.PermissionReplied(response="approve", replied_at_ms=1671644824000, expires_s=1672249624),
    "approve-in-messaging": facts.PermissionReplied(
        response="approve", replied_at_ms=1671644824000, expires_s=1672249624
    ),
    "reject": facts.PermissionReplied(response="reject", replied_at_ms=1671644824000),
}


@pytest.mark.meta("3.5-response", "3.5-expiry", "3.5-place")
@pytest.mark.parametrize("sample", REPLIES)
def test_a_consumers_leave_is_read_wherever_it_stands(sample: str) -> None:
    received = read((WEBHOOKS / f"messenger-call-permission-reply-{sample}.json").read_bytes())
    assert received.replies == [webhook.PermissionReply(PAGE, CONSUMER, REPLIES[sample])]


@pytest.mark.meta("3.5-response")
def test_messages_are_nobodys_leave_and_an_odd_reply_spoils_no_other() -> None:
    good = {
        "sender": {"id": CONSUMER},
        "recipient": {"id": PAGE},
        "timestamp": 1671644824,
        "call_permission_reply": {"response": "Accept"},
    }
    odd = {**good, "call_permission_reply": {"response": 7.5, "expiration_timestamp": []}}
    text = {**good, "message": {"text": "hello"}}
    del text["call_permission_reply"]
    body = {"object": "page", "entry": [{"id": PAGE, "time": 1, "messaging": [text, odd, good, "?"]}]}
    received = read(json.dumps(body).encode())
    assert [reply.fact.response for reply in received.replies] == ["approve"]
    (unreadable,) = received.unreadable
    assert read(unreadable.alone).unreadable == [unreadable]


@pytest.mark.meta("3.3-offer", "4.3-crlf")
def test_the_sdp_of_the_sample_comes_with_its_line_ends() -> None:
    sample = (SDP / "messenger-media-update-consumer-video-offer.sdp").read_bytes().decode()
    fact = only(read((WEBHOOKS / "messenger-media-update-consumer-video.json").read_bytes())).fact
    assert isinstance(fact, facts.MediaChanged)
    assert fact.sdp == sample


@pytest.mark.parametrize("path", sorted(WEBHOOKS.glob("whatsapp-*.json")), ids=lambda path: path.stem)
def test_a_webhook_of_another_object_is_no_call_and_no_trouble(path: Path) -> None:
    received = read(path.read_bytes())
    assert (received.events, received.unreadable) == ([], [])
    assert received.other_fields == ["whatsapp_business_account"]


# -- identities --------------------------------------------------------------------------------------------------------


def test_a_repeat_has_the_same_identity_whatever_its_timestamp() -> None:
    first, again = (only(read_elements(connect(timestamp=stamp))) for stamp in (1671644824, 1671644999))
    assert first.identity == again.identity


def test_events_of_one_call_that_say_different_things_differ_in_identity() -> None:
    said = [
        connect(),
        {"id": "c_1", "event": "call_status", "call_status": "ringing"},
        {"id": "c_1", "event": "call_status", "call_status": "accepted"},
        media_update({"version": 1, "sdp_renegotiation": "v=0 one"}),
        media_update({"version": 1, "sdp_renegotiation": "v=0 two"}),
        media_update({"version": 2, "sdp_renegotiation": "v=0 two"}),
        terminate(),
        terminate(status="Failed"),
        {"id": "c_1", "event": "hold"},
        {"id": "c_1", "event": "hold", "by": "consumer"},
    ]
    received = read_elements(*said)
    assert len({event.identity for event in received.events}) == len(said)


def test_the_two_spellings_of_one_sdp_have_one_identity() -> None:
    spelled = ("v=0", {"sdp_type": "offer", "sdp": "v=0"})
    text, described = (only(read_elements(media_update({"version": 1, "sdp_renegotiation": sdp}))) for sdp in spelled)
    assert text == described


# -- spellings ---------------------------------------------------------------------------------------------------------


@pytest.mark.meta("3.0-times", "3.1-timestamp")
@pytest.mark.parametrize("stamp", [1671644824, 1671644824000, 1671644824.0, "1671644824"])
def test_a_timestamp_may_be_seconds_or_milliseconds(stamp: object) -> None:
    fact = only(read_elements(connect(timestamp=stamp))).fact
    assert isinstance(fact, facts.Arrived)
    assert fact.sent_at_ms == 1671644824000
    assert fact.answer_by_ms == 1671644824000 + WINDOW_MS


@pytest.mark.meta("3.1-timestamp")
def test_a_connect_without_a_timestamp_was_sent_now() -> None:
    element = connect()
    del element["timestamp"]
    fact = only(read_elements(element)).fact
    assert isinstance(fact, facts.Arrived)
    assert (fact.sent_at_ms, fact.answer_by_ms) == (NOW_MS, NOW_MS + WINDOW_MS)


@pytest.mark.meta("3.1-timestamp")
def test_a_clock_ahead_of_ours_wins_no_time_to_answer() -> None:
    fact = only(read_elements(connect(timestamp=NOW_MS // 1000 + 300))).fact
    assert isinstance(fact, facts.Arrived)
    assert fact.answer_by_ms == NOW_MS + WINDOW_MS


@pytest.mark.parametrize("stamp", [-1e308, -1e30, -5, 1e30, 10**15 * 1000, 0])
def test_a_timestamp_that_cannot_be_gives_no_absurd_deadline(stamp: float) -> None:
    """`route` keeps the deadline as a number of its own; one of 31 digits could not be read back."""
    received = read_elements(connect(timestamp=stamp))
    for event in received.events:
        assert isinstance(event.fact, facts.Arrived)
        assert 0 < event.fact.answer_by_ms <= NOW_MS + WINDOW_MS
    assert len(received.events) == 1


@pytest.mark.meta("3.1-parties")
@pytest.mark.parametrize(
    ("page", "to", "sender"),
    [
        pytest.param(PAGE, PAGE, CONSUMER, id="text"),
        pytest.param(int(PAGE), int(PAGE), int(CONSUMER), id="numbers"),
        pytest.param(int(PAGE), PAGE, CONSUMER, id="a number and text"),
        pytest.param(PAGE, CONSUMER, PAGE, id="the other way round"),
    ],
)
def test_the_consumer_is_whoever_is_not_the_page(page: object, to: object, sender: object) -> None:
    fact = only(read_elements(connect(**{"to": to, "from": sender}), page=page)).fact
    assert isinstance(fact, facts.Arrived)
    assert (fact.page, fact.consumer) == (PAGE, CONSUMER)


@pytest.mark.meta("3.3-offer", "6.2-version-type")
@pytest.mark.parametrize("sdp", ["v=0", {"sdp_type": "offer", "sdp": "v=0"}])
@pytest.mark.parametrize("version", [3, "3"])
def test_an_sdp_may_be_text_or_an_object_and_its_version_a_number_or_text(sdp: object, version: object) -> None:
    event = only(read_elements(media_update({"version": version, "sdp_renegotiation": sdp})))
    assert event.fact == facts.MediaChanged(version=3, sdp="v=0")


@pytest.mark.meta("3.3-offer")
@pytest.mark.parametrize(
    "session",
    [
        pytest.param({"version": 1}, id="none"),
        pytest.param({"version": 1, "sdp_renegotiation": ""}, id="empty"),
        pytest.param({"version": 1, "sdp_renegotiation": {"sdp_type": "offer"}}, id="an object without one"),
        pytest.param(None, id="no session"),
    ],
)
def test_a_media_update_without_an_sdp_is_unreadable(session: object) -> None:
    received = read_elements(media_update(session))
    assert received.events == []
    assert "without an SDP" in received.unreadable[0].why


@pytest.mark.meta("3.4-duration")
@pytest.mark.parametrize(("given_", "duration_s"), [(120, 120), ("120", 120), (12.7, 12), (0, 0), ("0", 0)])
def test_a_duration_may_be_a_number_or_text(given_: object, duration_s: int) -> None:
    fact = only(read_elements(terminate(duration=given_))).fact
    assert isinstance(fact, facts.Terminated)
    assert fact.duration_s == duration_s


@pytest.mark.meta("3.4-no-duration")
@pytest.mark.parametrize("changes", [{}, {"duration": None}, {"duration": ""}], ids=["missing", "null", "empty"])
def test_no_duration_is_none_however_it_is_written(changes: dict[str, object]) -> None:
    fact = only(read_elements(terminate(**changes, start_time="", end_time=None))).fact
    assert fact == facts.Terminated(status="completed")


@pytest.mark.meta("3.4-status")
@pytest.mark.parametrize("status", ["Completed", "COMPLETED", "completed"])
def test_the_case_of_a_status_does_not_matter(status: str) -> None:
    event = only(read_elements(terminate(status=status)))
    assert event == webhook.CallEvent("c_1", facts.Terminated(status="completed"), "terminate:completed")


@pytest.mark.meta("3.1-events")
def test_an_event_that_no_page_documents_is_kept_whole() -> None:
    element = {"id": "c_1", "event": "hold", "by": {"what": ["a", 1, None]}}
    fact = only(read_elements(element)).fact
    assert isinstance(fact, facts.Unrecognized)
    assert fact.event == "hold"
    assert json.loads(fact.body) == element


# -- odd elements ------------------------------------------------------------------------------------------------------

ODD: Final = [
    pytest.param(None, id="null"),
    pytest.param(5, id="a number"),
    pytest.param([], id="a list"),
    pytest.param({}, id="nothing"),
    pytest.param({"id": "c_odd"}, id="no event"),
    pytest.param({"event": "connect"}, id="no id"),
    pytest.param(connect(id=""), id="an empty id"),
    pytest.param(connect(id="c" * 257), id="an endless id"),
    pytest.param(connect(id=7), id="a number as id"),
    pytest.param(media_update({"version": "new", "sdp_renegotiation": "v=0"}), id="a version that is none"),
]


@pytest.mark.meta("3.4-times")
@pytest.mark.parametrize("odd", ["noon", None, [], {}, "1e400", 1e300, -(2**70)])
def test_an_odd_description_of_an_event_does_not_cost_the_event(odd: object) -> None:
    ended = terminate(duration=odd, start_time=odd, end_time=odd, status=[], timestamp=odd)
    received = read_elements(connect(timestamp=odd), ended)
    assert received.unreadable == []
    arrived, over = (event.fact for event in received.events)
    assert isinstance(arrived, facts.Arrived)
    assert arrived.sent_at_ms == NOW_MS
    assert over == facts.Terminated(status="")


@pytest.mark.meta("3.0-envelope")
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_element_spoils_no_other(odd: object) -> None:
    received = read_elements(connect(id="c_before"), odd, connect(id="c_after"))
    assert [event.call_id for event in received.events] == ["c_before", "c_after"]
    (unreadable,) = received.unreadable
    assert json.loads(unreadable.body) == odd
    assert unreadable.why


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(None, id="null"),
        pytest.param({"calls": [connect()]}, id="no page"),
        pytest.param({"id": {}, "calls": [connect()]}, id="a page that is none"),
        pytest.param({"id": PAGE, "calls": None}, id="no calls"),
        pytest.param({"id": PAGE, "calls": {"0": connect()}}, id="calls that are no list"),
    ],
)
def test_an_odd_entry_spoils_no_other(odd: object) -> None:
    good = {"id": PAGE, "time": 1, "calls": [connect()]}
    received = read(json.dumps({"object": "page", "entry": [good, odd, good]}).encode())
    assert len(received.events) == 2
    (unreadable,) = received.unreadable
    assert json.loads(unreadable.body) == odd


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"object":5}', b"\xff\xfe", b'{"object":"page","entry":{}}']
)
def test_a_body_that_cannot_be_read_is_kept_whole(body: bytes) -> None:
    received = read(body)
    assert received.events == []
    assert [odd.body for odd in received.unreadable] == [body]


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDC00", "\\ud83d\\ud83d", "\\\\\\ud83d"])
def test_half_a_character_spoils_neither_what_it_stands_in_nor_the_rest(half: str) -> None:
    """A message cut after so many UTF-16 units ends so; its element reads U+FFFD there."""
    text = f'{{"id":"c_half","event":"hold","text":"{half} \\ud83d\\ude00 \\\\ud83d"}}'
    entry = '{"id":"1","time":1,"calls":[%s,%s],"messaging":["%s"]}' % (text, json.dumps(connect()), half)  # noqa: UP031
    received = read(f'{{"object":"page","entry":[{entry}]}}'.encode())
    assert [event.call_id for event in received.events] == ["c_half", connect()["id"]]
    assert (received.unreadable, received.other_fields) == ([], ["messaging"])
    (hold, _) = (event.fact for event in received.events)
    assert isinstance(hold, facts.Unrecognized)
    assert json.loads(hold.body)["text"].endswith("\N{REPLACEMENT CHARACTER} \N{GRINNING FACE} \\ud83d")


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
def test_a_body_nested_without_end_is_unreadable_and_no_more(depth: int) -> None:
    deep = b"[" * depth
    for body in (deep, b'{"object":"page","entry":[' + deep, b'{"object":"page","entry":[{"id":"1","calls":[' + deep):
        received = read(body)
        assert received.events == []
        assert len(received.unreadable) == 1


@pytest.mark.meta("7.6-ads")
def test_calls_beside_other_fields_are_read_and_the_others_named() -> None:
    entry = {"id": PAGE, "time": 1, "calls": [connect()], "messaging": [], "standby": []}
    received = read(json.dumps({"object": "page", "entry": [entry]}).encode())
    assert len(received.events) == 1
    assert received.other_fields == ["messaging", "standby"]


# -- anything ----------------------------------------------------------------------------------------------------------


def check_that_it_can_be_kept(received: webhook.Received) -> None:
    """Whatever was read can be written to the log, and read there."""
    for event in received.events:
        written = msgspec.json.encode(event.fact)
        assert msgspec.json.decode(written, type=facts.CallFact) == event.fact
        assert event.call_id.encode()
        assert event.identity.encode()
    for odd in received.unreadable:
        assert isinstance(odd.body, bytes)
        assert odd.why.encode()


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
_times = st.one_of(st.integers(), st.floats(), st.text(max_size=6), st.none())
_parties = st.one_of(st.just(PAGE), st.text(max_size=8), st.integers(), st.none())
_sdps = st.one_of(
    st.text(max_size=8), st.none(), st.fixed_dictionaries({}, optional={"sdp": st.text(max_size=8), "sdp_type": _json})
)
_elements = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.text(max_size=8), _json),
        "event": st.one_of(st.sampled_from(("connect", "call_status", "media_update", "terminate")), st.text(), _json),
        "timestamp": _times,
        "to": _parties,
        "from": _parties,
        "call_direction": st.one_of(st.just("user_initiated"), _json),
        "call_status": st.one_of(st.just("ringing"), _json),
        "session": st.one_of(
            st.fixed_dictionaries({}, optional={"version": _times, "sdp_renegotiation": _sdps}), _json
        ),
        "status": st.one_of(st.just("Completed"), _json),
        "start_time": _times,
        "end_time": _times,
        "duration": _times,
        "new": _json,
    },
)
_entries = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.just(PAGE), _json),
        "time": _times,
        "calls": st.one_of(st.lists(st.one_of(_elements, _json), max_size=3), _json),
        "messaging": _json,
    },
)
_bodies = st.fixed_dictionaries(
    {"object": st.one_of(st.just("page"), _json)},
    optional={"entry": st.one_of(st.lists(st.one_of(_entries, _json), max_size=3), _json)},
)


@settings(max_examples=500, deadline=None)
@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    check_that_it_can_be_kept(read(body))


@settings(max_examples=500, deadline=None)
@given(_json)
def test_no_json_makes_it_raise(value: object) -> None:
    check_that_it_can_be_kept(read(json.dumps(value).encode()))


@settings(max_examples=1_000, deadline=None)
@given(_bodies)
def test_nothing_that_looks_like_a_webhook_makes_it_raise(body: object) -> None:
    check_that_it_can_be_kept(read(json.dumps(body).encode()))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_on_the_way_makes_it_raise(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(sorted(WEBHOOKS.glob("messenger-*.json"))))
    body = bytearray(sample.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    check_that_it_can_be_kept(read(bytes(body[: data.draw(st.integers(0, len(body)))])))


@pytest.mark.meta("3.4-terminate")
@pytest.mark.parametrize("status", [{}, {"status": None}, {"status": ""}], ids=["missing", "null", "empty"])
def test_a_terminate_without_a_status_still_ends_the_call(status: dict[str, Any]) -> None:
    """A hang-up that is lost to its call is worse than one of unknown nature."""
    element = {"id": "c_1", "event": "terminate", "timestamp": 1790000000, **status}
    body = json.dumps({"object": "page", "entry": [{"id": "1", "time": 1790000000, "calls": [element]}]}).encode()
    (event,) = webhook.read(body, now_ms=1_790_000_000_000, answer_window_ms=55_000).events
    assert event.fact == facts.Terminated(status="")
