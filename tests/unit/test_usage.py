"""Graph's usage headers, in every documented shape and in odd ones."""

import json
from typing import Any

import pytest

from workers.action.usage import Usage, read_usage

CASE = {"call_count": 95, "total_cputime": 20, "total_time": 20, "estimated_time_to_regain_access": 0}


def by_case(*cases: dict[str, Any]) -> dict[str, str]:
    return {"x-business-use-case-usage": json.dumps({"106378625516323": cases})}


@pytest.mark.parametrize(
    ("headers", "usage"),
    [
        ({"x-app-usage": '{"call_count":28,"total_time":25,"total_cputime":25}'}, Usage(28, "x-app-usage")),
        ({"x-page-usage": '{"call_count":1,"total_time":91.5,"total_cputime":0}'}, Usage(91.5, "x-page-usage")),
        (by_case({"type": "messenger", **CASE}), Usage(95, "x-business-use-case-usage messenger")),
        (
            by_case(
                {**CASE, "type": "pages", "call_count": 100, "estimated_time_to_regain_access": 7},
                {**CASE, "type": "messenger", "estimated_time_to_regain_access": 19},
            ),
            Usage(100, "x-business-use-case-usage pages", regain_s=19 * 60),
        ),
        (by_case(CASE) | {"x-app-usage": '{"call_count":"96"}'}, Usage(96, "x-app-usage")),
        ({"x-app-usage": '{"call_count":null,"new":[]}'}, Usage(0, "x-app-usage")),
    ],
)
def test_what_is_used_up_is_told_at_its_worst(headers: dict[str, str], usage: Usage) -> None:
    assert read_usage(headers) == usage


@pytest.mark.parametrize(
    "value", ["", "{", "null", "[]", "7", '"x"', '{"call_count":"many"}', '{"a":{"call_count":1}}' * 2, "[" * 100_000]
)
@pytest.mark.parametrize("name", ["x-app-usage", "x-page-usage", "x-business-use-case-usage"])
def test_what_cannot_be_read_is_as_good_as_absent(name: str, value: str) -> None:
    assert read_usage({name: value}) is None
    assert read_usage({name: value} | by_case(CASE) if name[2] != "b" else {name: value, "x-app-usage": "{}"})


def test_no_header_says_nothing() -> None:
    assert read_usage({}) is None
    assert read_usage(by_case()) is None


@pytest.mark.parametrize(("percent", "high"), [(89.9, False), (90, True), (250, True)])
def test_ninety_percent_is_high(percent: float, high: bool) -> None:
    assert Usage(percent, "x-app-usage").is_high is high
