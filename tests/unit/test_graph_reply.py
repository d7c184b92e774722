"""Graph's replies in both spellings, and what an odd part of one may not cost."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from shared.meta.graph import CallsReply, GraphError, read_reply

API: Final = Path(__file__).parents[1] / "fixtures" / "api"
SESSION: Final = {"sdp_response": "v=0 answer", "sdp_renegotiation": "v=0 offer"}


def read(reply: Any) -> CallsReply:
    read = read_reply(json.dumps(reply).encode())
    assert read is not None
    return read


@pytest.mark.meta("4.2-sdp", "4.3-crlf")
@pytest.mark.parametrize("spelling", ["objects", "strings"])
def test_both_spellings_of_an_answer_are_one(spelling: str) -> None:
    reply = read_reply((API / f"messenger-accept-response-{spelling}.json").read_bytes())
    other = read_reply((API / "messenger-accept-response-objects.json").read_bytes())
    assert reply is not None
    assert other is not None
    assert (reply.answer, reply.renegotiation) == (other.answer, other.renegotiation)
    assert (reply.answer or "").startswith("v=0\r\n")
    assert (reply.renegotiation or "").startswith("v=0\r\n")


@pytest.mark.meta("4.2-new-id")
@pytest.mark.parametrize("named", [{"id": "c_1"}, {"call_id": "c_1"}, {"id": "c_1", "call_id": "c_2"}], ids=str)
def test_a_new_call_is_named_in_either_way(named: dict[str, str]) -> None:
    assert read({"success": True, "session": SESSION, **named}).call_id == "c_1"


@pytest.mark.parametrize(
    "neighbour",
    [
        {"success": {}},
        {"success": 1},
        {"error": None},
        {"call_id": []},
        {"session": {**SESSION, "sdp_renegotiation": 7}},
        {"session": {**SESSION, "sdp_response": {"sdp": "v=0 answer", "sdp_type": None}}},
    ],
    ids=str,
)
def test_an_odd_neighbour_does_not_cost_the_answer(neighbour: dict[str, Any]) -> None:
    assert read({"success": True, "session": SESSION, **neighbour}).answer == "v=0 answer"


@pytest.mark.meta("4.2-errors")
@pytest.mark.parametrize(
    ("error", "meant"),
    [
        ({"code": 190, "message": None}, GraphError(code=190)),
        ({"code": "190", "is_transient": None, "fbtrace_id": 7}, GraphError(code=190)),
        ({"code": 4, "is_transient": True, "error_subcode": "none"}, GraphError(code=4, is_transient=True)),
        ({"code": "x", "message": "no"}, GraphError(message="no")),
        ({}, GraphError()),
        ("invalid_request", GraphError(message="invalid_request")),
        ([7], GraphError()),
    ],
    ids=str,
)
def test_an_odd_error_is_an_error_with_what_can_be_read_of_it(error: object, meant: GraphError) -> None:
    assert read({"error": error}).error == meant


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"7",
        b'"ok"',
        b"\xff",
        b'{"success":true',
        b'{"x":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_object_of_json_is_no_reply(body: bytes) -> None:
    assert read_reply(body) is None
