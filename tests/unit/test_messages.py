"""Messages around calls: the bodies Meta documents, what is refused before it is sent, and how its answers are read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from shared.errors import MessageFailed
from shared.meta.messages import Message, Sent, body_of, call_prompt, composed, optin, optin_body, read_sent

API: Final = Path(__file__).parents[1] / "fixtures" / "api"
PSID: Final = "5275811702471834"
BUTTON: Final = {"type": "audio_call", "title": "Call Now", "expires_in_days": 5}


def sent(message: Message) -> Any:
    return json.loads(body_of(message, PSID))


def payload(message: Message) -> Any:
    body = sent(message)
    assert body["recipient"] == {"id": PSID}
    assert body.keys() == {"recipient", "message"}
    assert body["message"]["attachment"]["type"] == "template"
    return body["message"]["attachment"]["payload"]


@pytest.mark.meta("5.3-request")
def test_a_permission_request_is_the_documented_one() -> None:
    documented = json.loads((API / "messenger-calling-optin-request.json").read_bytes())
    assert json.loads(optin_body(PSID)) == documented
    assert sent(optin()) == documented


def test_a_text_is_nothing_but_a_text() -> None:
    assert sent(composed("Call us: 5 > 3 ✓")) == {"recipient": {"id": PSID}, "message": {"text": "Call us: 5 > 3 ✓"}}


@pytest.mark.meta("7.4-prompt", "7.4-ttl", "7.4-text")
def test_a_call_prompt_says_how_many_days_it_is_good_for() -> None:
    assert payload(call_prompt(5)) == {"template_type": "call_prompt", "ttl_days": 5}
    assert payload(call_prompt())["ttl_days"] == 7


@pytest.mark.meta("7.5-button", "7.5-template", "7.5-no-payload")
def test_a_call_button_below_a_text_is_a_button_template() -> None:
    assert payload(composed("We are open.", call_button="Call Now", days=5)) == {
        "template_type": "button",
        "text": "We are open.",
        "buttons": [BUTTON],
    }


@pytest.mark.meta("7.5-generic")
def test_a_call_button_below_a_title_is_a_generic_template() -> None:
    assert payload(composed("We are open.", title="The shop", call_button="Call Now", days=5)) == {
        "template_type": "generic",
        "elements": [{"title": "The shop", "subtitle": "We are open.", "buttons": [BUTTON]}],
    }


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (composed("Hello"), "text"),
        (composed("Hello", call_button="Call"), "call_button"),
        (call_prompt(), "call_prompt"),
        (optin(), "calling_optin"),
    ],
)
def test_each_message_has_a_kind_for_the_record(made: Message, kind: str) -> None:
    assert made.kind == kind


@pytest.mark.meta("7.4-ttl", "7.5-days", "7.5-errors")
@pytest.mark.parametrize(
    ("make", "because"),
    [
        (lambda: composed(""), "the text of a message is empty"),
        (lambda: composed(" \n"), "the text of a message is empty"),
        (lambda: composed("x" * 2001), "2001 characters; Meta takes 2000"),
        (lambda: composed("x" * 641, call_button="Call"), "641 characters; Meta takes 640"),
        (lambda: composed("x", call_button="x" * 21), "21 characters; Meta takes 20"),
        (lambda: composed("x", call_button=" "), "the title of a call button is empty"),
        (lambda: composed("x", title="x" * 81, call_button="Call"), "81 characters; Meta takes 80"),
        (lambda: composed("x" * 81, title="x", call_button="Call"), "81 characters; Meta takes 80"),
        (lambda: composed("x", title="x"), "only together with a call_button"),
        (lambda: composed("x", call_button="Call", days=0), "1 to 7 days, not for 0"),
        (lambda: composed("x", call_button="Call", days=8), "1 to 7 days, not for 8"),
        (lambda: call_prompt(0), "1 to 7 days, not for 0"),
        (lambda: call_prompt(8), "1 to 7 days, not for 8"),
        (lambda: call_prompt(True), "1 to 7 days, not for True"),
        (lambda: body_of(optin(), " "), "PSID"),
    ],
)
def test_what_meta_would_not_take_is_refused_before_it_is_sent(make: Callable[[], object], because: str) -> None:
    with pytest.raises(ValueError, match=because):
        make()


@pytest.mark.meta("7.4-ttl", "7.5-days")
@pytest.mark.parametrize("days", [1, 7])
def test_the_first_and_the_last_day_are_within_the_limits(days: int) -> None:
    assert payload(call_prompt(days))["ttl_days"] == days
    assert payload(composed("x" * 640, call_button="x" * 20, days=days))["buttons"][0]["expires_in_days"] == days


@pytest.mark.meta("5.3-reply", "7.4-reply", "7.5-reply")
@pytest.mark.parametrize(
    "answer",
    [
        {"recipient": {"id": PSID}, "message_id": "m_1"},
        {"recipient_id": PSID, "message_id": "m_1"},
        {"recipient": {"id": PSID, "message_id": "m_1"}},
        {"recipient": PSID, "message_id": "m_1", "more": None},
    ],
    ids=["permission request", "Send API", "call button", "none of them"],
)
def test_the_id_is_found_in_every_documented_answer(answer: dict[str, Any]) -> None:
    assert read_sent(json.dumps(answer).encode()) == Sent("m_1")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"success":true}',
        b'{"message_id":7}',
        b'{"message_id":""}',
        b'{"recipient":[]}',
    ],
)
def test_an_answer_without_an_id_is_none(answer: bytes) -> None:
    assert read_sent(answer) is None


def test_a_failure_tells_cause_codes_and_remedy() -> None:
    failed = MessageFailed("no", cause="graph", code=10, subcode=2018278, fbtrace_id="trace", remedy="Wait.")
    assert str(failed) == "no (code 10, subcode 2018278, fbtrace_id trace). Wait."


def test_an_ambiguous_failure_says_so() -> None:
    failed = MessageFailed("no reply.", cause="no_reply", ambiguous=True)
    assert str(failed) == "no reply. It is not known whether the message was sent."
