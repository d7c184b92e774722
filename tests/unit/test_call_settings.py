"""Call settings: both documented shapes are read, and what is sent makes a difference that was found vanish."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.meta.call_settings import (
    DAYS,
    CallSettings,
    Change,
    Day,
    Hours,
    Name,
    difference,
    of_meta,
    read_settings,
    refused,
)
from shared.meta.webhook import read

WEBHOOKS: Final = Path(__file__).parent.parent / "fixtures" / "webhooks"
OF_THE_GUIDE: Final = {
    "timezone_id": "America/Los_Angeles",
    "weekly_operating_hours": [
        {"day_of_week": "MONDAY", "open_time": "0900", "close_time": "1700"},
        {"day_of_week": "TUESDAY", "open_time": "0930", "close_time": "1830"},
    ],
}
READ: Final = Hours("America/Los_Angeles", (Day(0, "0900", "1700"), Day(1, "0930", "1830")))


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.meta("7.1-get")
@pytest.mark.parametrize("wrapped", [lambda flat: flat, lambda flat: {"data": [flat]}, lambda flat: {"data": flat}])
def test_a_reply_is_read_in_the_shape_of_the_guide_and_of_the_reference(wrapped: Callable[[Any], Any]) -> None:
    said = {
        "audio_enabled": True,
        "video_enabled": False,
        "icon_enabled": True,
        "call_routing": {"ring_target": "PARTNERS"},
        "call_hours": OF_THE_GUIDE,
    }
    assert read_settings(json.dumps(wrapped(said)).encode()) == CallSettings(True, False, True, READ, "PARTNERS")


@pytest.mark.meta("7.1-video", "7.6-routing")
@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({}, CallSettings()),
        ({"call_routing": "partners"}, CallSettings(routing="PARTNERS")),
        ({"video": True}, CallSettings(video=True)),
        ({"audio_enabled": "true"}, CallSettings(audio=True)),
        ({"audio_enabled": None, "icon_enabled": 7, "call_routing": [], "call_hours": "always"}, CallSettings()),
        ({"call_hours": {"timezone_id": "Africa/Lagos"}}, CallSettings(hours=Hours("Africa/Lagos"))),
        (
            {
                "call_hours": {
                    "timezone_id": "Africa/Lagos",
                    "weekly_operating_hours": [
                        {"day_of_week": "sunday", "open_time": "09:00", "close_time": 1700},
                        {"day_of_week": "MONDAY", "open_time": 900, "close_time": "1700"},
                        {"day_of_week": "SOMEDAY", "open_time": "0900", "close_time": "1700"},
                        "closed",
                        {"day_of_week": "FRIDAY", "open_time": "noon", "close_time": "1700"},
                    ],
                }
            },
            CallSettings(hours=Hours("Africa/Lagos", (Day(0, "0900", "1700"), Day(6, "0900", "1700")))),
        ),
    ],
)
def test_each_part_is_read_on_its_own(said: Any, read: CallSettings) -> None:
    assert of_meta(said) == read


@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[]", b'{"data":7}', b"\xff"])
def test_what_is_no_reply_is_none(body: bytes | None) -> None:
    assert read_settings(body) is None


def test_no_settings_yet_are_settings() -> None:
    assert read_settings(b'{"data":[]}') == CallSettings()


@pytest.mark.meta("7.1-post")
@pytest.mark.parametrize(
    ("body", "is_refused"),
    [
        (b'{"result":"success"}', False),
        (b'{"success":true}', False),
        (b'{"success":"true"}', False),
        (b'{"result":"failure"}', True),
        (b'{"success":false}', True),
        (b'{"success":"false"}', True),
        (b"<html>", True),
        (None, True),
    ],
)
def test_a_post_is_answered_in_one_of_two_ways(body: bytes | None, is_refused: bool) -> None:
    assert refused(body) is is_refused


@pytest.mark.meta("7.6-webhook", "7.6-routing")
def test_the_webhook_tells_of_the_settings_with_routing_as_a_bare_word() -> None:
    received = read((WEBHOOKS / "messenger-call-settings-update.json").read_bytes(), now_ms=1, answer_window_ms=55_000)
    (told,) = received.settings
    assert (told.page, told.sent_ms) == ("106378625516323", 1_671_644_824_000)
    week = (Day(0, "0400", "1020"), Day(1, "0108", "1020"))
    assert told.settings == CallSettings(True, None, True, Hours("America/Los_Angeles", week), "PARTNERS")
    assert received.other_fields == ["call_settings"], "it is passed on to who wants other fields"
    assert not received.unreadable


@pytest.mark.meta("3.0-times", "7.6-recipient")
@pytest.mark.parametrize("time", [1671644824, 1671644824000, "1671644824"])
def test_an_entry_was_sent_at_so_many_seconds_or_milliseconds(time: object) -> None:
    entry = {"id": "1", "time": time, "recipient_id": "1", "call_settings": {"icon_enabled": True}}
    (told,) = read(json.dumps({"object": "page", "entry": [entry]}).encode(), now_ms=1, answer_window_ms=1).settings
    assert told.sent_ms == 1_671_644_824_000


@pytest.mark.parametrize("odd", ["null", "[]", '"x"', "7", '{"a":'])
def test_odd_settings_in_a_webhook_spoil_nothing(odd: str) -> None:
    call = '{"id":"c_1","event":"terminate","status":"Completed"}'
    body = f'{{"object":"page","entry":[{{"id":"1","call_settings":{odd},"calls":[{call}]}}]}}'
    received = read(body.encode(), now_ms=1, answer_window_ms=1)
    assert received.settings == []
    assert len(received.events) == (0 if odd == '{"a":' else 1)


# -- what differs ------------------------------------------------------------------------------------------------------


def test_what_is_not_wanted_in_any_way_is_left_alone() -> None:
    assert difference(CallSettings(), CallSettings(True, True, True, READ, "META")) == ()


@pytest.mark.meta("7.1-partners-last")
def test_what_differs_is_told_with_routing_last() -> None:
    wanted, actual = CallSettings(True, False, None, READ, "PARTNERS"), CallSettings(False, False, True, None, "META")
    changes = difference(wanted, actual)
    assert [change.name for change in changes] == [Name.AUDIO, Name.HOURS, Name.ROUTING]
    assert [str(change) for change in changes] == [
        "audio: off, wanted on",
        "hours: not said, wanted monday 09:00-17:00, tuesday 09:30-18:30 (America/Los_Angeles)",
        "routing: meta, wanted partners",
    ]


@pytest.mark.meta("7.1-subset", "7.2-hours", "7.3-routing")
@pytest.mark.parametrize(
    ("name", "wanted", "body"),
    [
        (Name.ICON, False, {"icon_enabled": False}),
        (Name.AUDIO, True, {"audio_enabled": True}),
        (Name.VIDEO, True, {"video_enabled": True}),
        (Name.ROUTING, "PARTNERS", {"call_routing": {"ring_target": "PARTNERS"}}),
        (Name.HOURS, READ, {"call_hours": OF_THE_GUIDE}),
        (Name.HOURS, Hours("UTC"), {"call_hours": {"timezone_id": "UTC", "weekly_operating_hours": []}}),
    ],
)
def test_a_change_is_sent_as_documented(name: Name, wanted: bool | str | Hours, body: Any) -> None:
    assert json.loads(Change(name, wanted, None).body) == body


times = st.integers(0, 22 * 60).map(lambda minutes: f"{minutes // 60:02}{minutes % 60:02}")
days = st.builds(Day, st.integers(0, len(DAYS) - 1), times, st.just("2359"))
weeks = st.lists(days, unique_by=lambda day: day.day).map(lambda listed: tuple(sorted(listed)))
settings = st.builds(
    CallSettings,
    audio=st.none() | st.booleans(),
    video=st.none() | st.booleans(),
    icon=st.none() | st.booleans(),
    hours=st.none() | st.builds(Hours, st.sampled_from(["UTC", "Africa/Lagos"]), weeks),
    routing=st.none() | st.sampled_from(["PARTNERS", "META"]),
)


@pytest.mark.meta("7.2-replace")
@given(wanted=settings, actual=settings, wrapped=st.booleans())
def test_once_every_change_is_made_nothing_differs_and_the_rest_is_as_it_was(
    wanted: CallSettings, actual: CallSettings, wrapped: bool
) -> None:
    kept: dict[str, Any] = {}
    for change in (*difference(actual, CallSettings()), *difference(wanted, actual)):  # as Meta would: each replaces
        kept |= json.loads(change.body)
    now = read_settings(json.dumps({"data": [kept]} if wrapped else kept).encode())
    assert now is not None
    assert difference(wanted, now) == ()
    for name in Name:
        if wanted.value(name) is None:
            assert now.value(name) == actual.value(name)
