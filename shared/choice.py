"""Which handlers take a call, and with which options: those of the Page's first rule that holds, else its own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from shared.pages import Page

Handler = Annotated[str, msgspec.Meta(pattern=r"^[\w.]+:\w+$")]
"""`module:function`."""
Date = Annotated[str, msgspec.Meta(pattern=r"^(\d{4}-)?\d\d-\d\d$")]
"""`2026-12-24`, or `12-25` for every year."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of `rules`: who takes the calls of which all that it names is true."""

    handler: Handler
    options: dict[str, str] = {}
    fallback: tuple[Handler, ...] | None = None
    """The Page's, where there is none."""
    callers: tuple[str, ...] = ()
    """PSIDs; whoever calls, where there are none."""
    direction: Literal["user_initiated", "business_initiated"] | None = None
    when: Literal["open", "closed"] | None = None
    """By the Page's `hours` and `holidays`."""


class Choice(NamedTuple):
    """What runs for a call."""

    handler: str
    """`module:function`, or "" where the Page names none."""
    options: Mapping[str, str]
    fallback: tuple[str, ...] | None = None
    """Who takes over, one after the other, when it raises; None where the Page names none."""


def choose(page: "Page", *, caller: str, direction: str, at_ms: int) -> Choice:
    """Return what a call that arrived at a time (Unix milliseconds) is for."""
    arrived = datetime.fromtimestamp(at_ms / 1000, UTC)
    for rule in page.rules:
        if rule.callers and caller not in rule.callers:
            continue
        if rule.direction not in (None, direction):
            continue
        if rule.when is not None and (rule.when == "open") != page.times.is_open(arrived):
            continue
        return _by_rule(page, rule)
    return Choice(page.handler, page.options, page.fallback)


def possible(page: "Page") -> tuple[Choice, ...]:
    """Return all that may be chosen for a Page."""
    return (Choice(page.handler, page.options, page.fallback), *(_by_rule(page, rule) for rule in page.rules))


def _by_rule(page: "Page", rule: Rule) -> Choice:
    return Choice(rule.handler, rule.options, page.fallback if rule.fallback is None else rule.fallback)
