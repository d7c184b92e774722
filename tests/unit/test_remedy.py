"""What an operator is told to do about Graph's errors."""

import pytest

from shared.meta.graph import GraphError
from shared.meta.remedy import remedy_for
from workers.action.verdict import is_about_this_call


@pytest.mark.parametrize(
    ("code", "subcode", "word"),
    [
        (190, 463, "expired"),
        (190, 460, "password"),
        (190, 467, "no longer valid"),
        (190, None, "PAGE_TOKENS"),
        (102, None, "PAGE_TOKENS"),
        (200, None, "pages_messaging"),
        (10, None, "pages_messaging"),
        (368, None, "Page Quality"),
        (100, 2018394, "own token"),
        (80006, None, "by itself"),
        (4, None, "by itself"),
    ],
)
def test_each_condition_has_its_remedy(code: int, subcode: int | None, word: str) -> None:
    assert word in remedy_for(GraphError(code=code, error_subcode=subcode))


def test_where_graph_said_nothing_one_looks_at_what_is_between() -> None:
    assert "GRAPH_URL" in remedy_for(None)


def test_where_nobody_knows_nothing_is_made_up() -> None:
    assert remedy_for(GraphError(code=506)) == ""


@pytest.mark.parametrize(
    ("error", "about_this_call"),
    [
        (GraphError(code=2018390), True),
        (GraphError(code=100, error_subcode=2018396), True),
        (GraphError(code=551), True),
        (GraphError(code=10, error_subcode=2018108), True),
        (GraphError(message="Call already terminated", code=100), True),
        (GraphError(code=190, error_subcode=463), False),
        (GraphError(code=2018392), False),
        (GraphError(code=10), False),
    ],
)
def test_some_errors_are_about_one_call_only(error: GraphError, about_this_call: bool) -> None:
    assert is_about_this_call(error) is about_this_call
