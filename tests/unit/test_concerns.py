"""Whom a webhook body is about."""

import json
from typing import Any, Final

import pytest

from shared.meta.concerns import is_only_about

PAGE: Final = "106378625516323"
ONE: Final = "5275811702471834"
OTHER: Final = "5275811702471835"


def message(sender: str | int, recipient: str = PAGE, text: str = "hi") -> dict[str, Any]:
    return {"sender": {"id": sender}, "recipient": {"id": recipient}, "message": {"text": text}}


def entry(**fields: Any) -> dict[str, Any]:
    return {"id": PAGE, "time": 1, **fields}


REPLY: Final = {"sender": {"id": ONE}, "recipient": {"id": PAGE}, "call_permission_reply": {"response": "approve"}}
CHANGE: Final = {"field": "feed", "value": {"from": {"id": ONE, "name": "N"}, "item": "comment"}}


@pytest.mark.parametrize(
    ("entries", "only"),
    [
        ([entry(messaging=[message(ONE), message(PAGE, ONE)])], True),
        ([entry(messaging=[message(int(ONE))])], True),
        ([entry(messaging=[message(ONE)]), entry(standby=[message(ONE)])], True),
        ([entry(messaging=[message(ONE)], calls=[{"id": "c", "event": "connect", "from": ONE, "to": PAGE}])], True),
        ([entry(calls=[{"id": "c", "event": "call_status", "recipient_id": ONE}], messaging=[message(ONE)])], True),
        ([entry(changes=[CHANGE])], True),
        ([entry(**REPLY)], True),
        ([entry(messaging=[message(ONE), message(OTHER)])], False),
        ([entry(messaging=[message(ONE)]), entry(messaging=[message(OTHER)])], False),
        ([entry(messaging=[message(OTHER, text=f"ask {ONE}")])], False),
        ([entry(messaging=[message(ONE)], calls=[{"id": "c", "event": "terminate"}])], False),
        ([entry(messaging=[message(ONE)]), entry(call_settings={"icon_enabled": True})], False),
        ([entry(messaging=[message(ONE)]), entry()], False),
        ([entry(changed_fields=[ONE])], False),
        ([entry(changes=[{"field": "name", "value": ONE}])], False),
        ([], False),
    ],
)
def test_a_body_is_a_consumer_s_alone_where_every_element_is_from_or_to_them(
    entries: list[dict[str, Any]], only: bool
) -> None:
    assert is_only_about(json.dumps({"object": "page", "entry": entries}).encode(), ONE) is only


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"entry":3}', b'{"entry":[3]}'])
def test_what_cannot_be_read_is_nobody_s_alone(body: bytes) -> None:
    assert not is_only_about(body, ONE)
