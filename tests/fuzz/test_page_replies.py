"""Whatever Graph may tell of a Page, and a webhook of its call settings: nothing of it is an error."""

import json
from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.meta import call_settings, page, webhook
from tests.fuzz.budget import examples
from tests.fuzz.oddities import VALUES, as_json, damaged, mutants, samples

TOLD: Final = samples("webhooks", "messenger-call-settings-update.json")
SETTINGS: Final = json.loads(TOLD[0])["entry"][0]["call_settings"]
REPLIES: Final[list[Any]] = [
    SETTINGS,
    {"data": [SETTINGS]},
    {"data": [{"id": "1", "subscribed_fields": ["calls"]}]},
    {"data": [{"feature": "messenger_api_calling", "status": "ENABLED"}]},
    {"data": {"app_id": "1", "is_valid": True, "expires_at": 0, "scopes": ["pages_messaging"]}},
    {"data": [{"object": "page", "callback_url": "https://a", "fields": [{"name": "calls"}], "active": True}]},
    {"result": "success"},
]
REPLY: Final = st.one_of(
    st.sampled_from(REPLIES).flatmap(mutants).map(as_json),
    st.sampled_from(REPLIES).map(as_json).flatmap(damaged),
    VALUES.map(as_json),
    st.binary(max_size=40),
)


@given(REPLY)
@examples(400)
def test_every_reply_is_read_or_is_none(body: bytes) -> None:
    told = call_settings.read_settings(body)
    if told is not None:
        kept = msgspec.json.encode(told)
        assert msgspec.json.decode(kept, type=call_settings.CallSettings) == told
        for change in call_settings.difference(told, call_settings.CallSettings()):
            assert str(change)
            assert json.loads(change.body)
            assert json.dumps(change.told())
    call_settings.refused(body)
    page.read_subscribed(body, "")
    page.read_feature(body)
    page.read_token(body)
    page.read_callback(body)


@given(st.sampled_from(TOLD).map(json.loads).flatmap(mutants).map(as_json))
@examples(400)
def test_every_webhook_about_settings_is_read_and_can_be_kept(body: bytes) -> None:
    for told in webhook.read(body, now_ms=1, answer_window_ms=1).settings:
        kept = msgspec.json.encode(told.settings)
        assert msgspec.json.decode(kept, type=call_settings.CallSettings) == told.settings
