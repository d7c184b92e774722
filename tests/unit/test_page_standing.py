"""What Graph tells of a Page apart from its calls, in every spelling and in odd ones."""

import json
from typing import Any

import pytest

from shared.meta.page import (
    Callback,
    TokenFacts,
    list_with_ours,
    read_callback,
    read_feature,
    read_subscribed,
    read_token,
)

ODD = [None, b"", b"<html>", b"[]", b'{"data":{}}', b'{"data":null}', b"[" * 100_000]


def body(*data: Any) -> bytes:
    return json.dumps({"data": data}).encode()


@pytest.mark.parametrize(
    ("apps", "app_id", "fields"),
    [
        ([], "", set()),
        ([{"id": "1", "subscribed_fields": ["calls", "messages"]}], "", {"calls", "messages"}),
        ([{"id": "1", "subscribed_fields": [{"name": "calls"}]}], "1", {"calls"}),
        ([{"id": 1, "subscribed_fields": ["calls"]}, {"id": 2, "subscribed_fields": ["feed"]}], "2", {"feed"}),
        ([{"id": "2", "subscribed_fields": ["calls"]}], "1", set()),
        ([{"id": "1"}], "", set()),
    ],
)
def test_the_fields_of_our_app_are_found(apps: list[Any], app_id: str, fields: set[str]) -> None:
    assert read_subscribed(body(*apps), app_id) == fields


def test_of_several_apps_none_is_taken_for_ours_unless_it_is_named() -> None:
    apps = [{"id": "1", "subscribed_fields": ["calls"]}, {"id": "2", "subscribed_fields": []}]
    assert read_subscribed(body(*apps), "") is None


@pytest.mark.meta("7.6-subscribed")
def test_the_list_keeps_what_there_was() -> None:
    assert list_with_ours({"messages", "calls"}) == "calls,call_permission_reply,call_settings_update,messages"


@pytest.mark.parametrize("status", ["enabled", "ENABLED"])
def test_the_feature_s_status_is_read_in_either_case(status: str) -> None:
    features = [{"feature": "another", "status": "off"}, {"feature": "messenger_api_calling", "status": status}]
    assert read_feature(body(*features)) == "enabled"


def test_what_a_token_may_and_until_when() -> None:
    data = {"app_id": 7, "is_valid": True, "expires_at": 99, "scopes": ["pages_messaging"], "type": "PAGE"}
    assert read_token(json.dumps({"data": data}).encode()) == TokenFacts(True, "7", 99, ("pages_messaging",))
    assert read_token(b'{"data":{"is_valid":false}}') == TokenFacts(False)


def test_where_the_app_s_webhooks_go() -> None:
    page = {"object": "page", "callback_url": "https://a/webhook", "fields": [{"name": "calls", "version": "v1.0"}]}
    assert read_callback(body({"object": "user"}, page)) == Callback("https://a/webhook", frozenset({"calls"}), True)
    assert read_callback(body({**page, "active": False, "fields": ["calls"]})) == Callback(
        "https://a/webhook", frozenset({"calls"}), False
    )


@pytest.mark.parametrize("odd", ODD)
def test_what_cannot_be_read_is_none(odd: bytes | None) -> None:
    assert read_subscribed(odd, "") is None
    assert read_feature(odd) is None
    assert read_token(odd) is None
    assert read_callback(odd) is None
