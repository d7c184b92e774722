"""Whether a consumer may be called, as Graph tells it: three documented bodies, and each of their parts alone."""

import json
from typing import Any

import pytest

from shared.meta.permissions import CallPermission, read_permission


def read(body: Any) -> CallPermission | None:
    return read_permission(json.dumps(body).encode())


def action(name: str, **flags: Any) -> dict[str, Any]:
    return {"action_name": name, **flags}


HAS = {"status": "has_permission", "expiration_time": 1745343479}


@pytest.mark.meta("5.1-wrapper", "5.1-status", "5.1-expiry", "5.1-actions", "5.1-flag")
@pytest.mark.parametrize("wrapped", [False, True], ids=["flat", "in data"])
@pytest.mark.parametrize("status", ["has_permission", "HAS_PERMISSION"])
@pytest.mark.parametrize("flag", ["can_perform", "can_perform_action"])
def test_every_mixture_of_the_documented_spellings_is_read(wrapped: bool, status: str, flag: str) -> None:
    actions = [action("send_call_permission_request", **{flag: False}), action("start_call", **{flag: True})]
    told = {"permission": {**HAS, "status": status}, "actions": actions}
    assert read({"data": [told]} if wrapped else told) == CallPermission("has_permission", True, False, 1745343479)


@pytest.mark.meta("5.1-expiry")
def test_without_permission_there_is_no_time_at_which_it_ends() -> None:
    told = {"permission": {"status": "no_permission"}, "actions": [action("start_call", can_perform=False)]}
    assert read(told) == CallPermission("no_permission", may_call=False, may_ask=True, expires_s=None)


@pytest.mark.meta("5.1-quota")
def test_the_flag_decides_and_not_the_permission() -> None:
    """`start_call` depends on a quota, too, whose size is UNKNOWN."""
    told = read({"permission": HAS, "actions": [action("start_call", can_perform=False)]})
    assert told is not None
    assert (told.status, told.may_call) == ("has_permission", False)


@pytest.mark.meta("5.1-quota")
@pytest.mark.parametrize(("status", "may_call"), [("has_permission", True), ("no_permission", False)])
def test_without_a_flag_the_permission_decides(status: str, may_call: bool) -> None:
    told = read({"permission": {"status": status}})
    assert told is not None
    assert told.may_call is may_call


@pytest.mark.meta("5.1-limits")
@pytest.mark.parametrize("most", ["max_allowed", "max_allowed_per_user"])
@pytest.mark.parametrize("usage", [0, 1, 2, "2", None])
def test_limits_are_left_to_the_flag_beside_them(most: str, usage: object) -> None:
    limits = [{"time_period": "PT24H", most: 2, "current_usage": usage}]
    told = read(
        {"permission": HAS, "actions": [action("send_call_permission_request", can_perform=True, limits=limits)]}
    )
    assert told is not None
    assert told.may_ask is True


@pytest.mark.parametrize("body", [None, b"", b"{}", b"[]", b'{"data":[]}', b"<html>", b'{"permission":7}'])
def test_what_tells_nothing_of_the_kind_is_none(body: bytes | None) -> None:
    assert read_permission(body) is None
