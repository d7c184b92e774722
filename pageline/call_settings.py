"""The Pages' call settings for whoever runs the line: what they are at Meta, what differs, and the way there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageline.at_meta import of_each, pages_at_meta
from shared.meta.call_settings import PARTNERS, CallSettings, Change, Name, difference, in_words
from shared.meta.page import CALLS
from shared.pages import Page
from shared.settings import Settings
from workers.action.page_at_meta import PageAtMeta, Untold

SUBSCRIBE_FIRST: Final = (
    f"routing was not changed: {PARTNERS} requires that the app is subscribed to `{CALLS}` first. "
    "`pageline doctor --fix` subscribes it; then apply again."
)


class Done(NamedTuple):
    """What became of one change."""

    change: Change
    trouble: str
    """Why it was not made; empty where it was."""


class Stand(NamedTuple):
    """How a Page's call settings stand."""

    page: str
    wanted: CallSettings
    actual: CallSettings | None
    error: str = ""
    done: tuple[Done, ...] = ()
    """In the order in which it was tried; nothing where nothing was."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return what differs, or differed before it was changed."""
        return () if self.actual is None else difference(self.wanted, self.actual)

    def shown(self) -> dict[str, Any]:
        """Return it as `settings show --json` has it."""
        actual = None if self.actual is None else self.actual.told()
        return {"page": self.page, "actual": actual, "wanted": self.wanted.told(), "error": self.error or None}

    def compared(self) -> dict[str, Any]:
        """Return it as `settings diff` and `apply` with `--json` have it; `done` is null for what is untried."""
        became = {done.change.name: done for done in self.done}
        changes = []
        for change in self.changes:
            done = became.get(change.name)
            changes.append(
                change.told()
                | {"done": None if done is None else not done.trouble, "error": (done and done.trouble) or None}
            )
        return {"page": self.page, "changes": changes, "error": self.error or None}


def look(settings: Settings, only: str) -> list[Stand]:
    """Return how the Pages' call settings stand, or one Page's."""
    return _for_each(settings, only, _look)


def apply(settings: Settings, only: str) -> list[Stand]:
    """Make the call settings at Meta those that are wanted."""
    return _for_each(settings, only, _apply)


def _for_each(
    settings: Settings, only: str, step: Callable[[PageAtMeta, CallSettings], Awaitable[Stand]]
) -> list[Stand]:
    async def run() -> list[Stand]:
        async with pages_at_meta(settings, only) as pages:
            return await of_each(pages, lambda at_meta: step(at_meta, wanted_of(settings, at_meta.page)))

    return asyncio.run(run())


def wanted_of(settings: Settings, page: str) -> CallSettings:
    """Return what PAGES_FILE wants of a Page's call settings."""
    return settings.pages.get(page, Page()).call_settings


async def _look(at_meta: PageAtMeta, wanted: CallSettings) -> Stand:
    try:
        return Stand(at_meta.page, wanted, await at_meta.call_settings())
    except Untold as error:
        return Stand(at_meta.page, wanted, None, str(error))


async def _apply(at_meta: PageAtMeta, wanted: CallSettings) -> Stand:
    stand = await _look(at_meta, wanted)
    done = [Done(change, await change_at(at_meta, change)) for change in stand.changes]
    return stand._replace(done=tuple(done))


async def change_at(at_meta: PageAtMeta, change: Change) -> str:
    """Make one change, and return why it was not made, or "". Calls must be subscribed to before they are routed."""
    try:
        if change.name is Name.ROUTING and change.wanted == PARTNERS and not await _subscribed_to_calls(at_meta):
            return SUBSCRIBE_FIRST
        await at_meta.change(change)
    except Untold as error:
        return str(error)
    return ""


async def _subscribed_to_calls(at_meta: PageAtMeta) -> bool:
    """Tell whether the app is; where that cannot be read, Meta decides."""
    try:
        return CALLS in await at_meta.subscribed()
    except Untold:
        return True


def print_stands(stands: list[Stand]) -> None:
    """Print the settings as a table."""
    console, table = Console(markup=False), Table(box=None, header_style="dim", pad_edge=False)
    for column in ("page", "setting", "at Meta", "PAGES_FILE"):
        table.add_column(column, overflow="fold")
    for stand in stands:
        if stand.actual is None:
            table.add_row(stand.page, Text(stand.error, style="red"))
            continue
        for name in Name:
            actual, wanted = stand.actual.value(name), stand.wanted.value(name)
            differs = wanted is not None and wanted != actual
            told = Text("" if wanted is None else in_words(wanted), style="yellow" if differs else "dim")
            table.add_row(stand.page, name, in_words(actual), told)
    console.print(table)


def print_changes(stands: list[Stand]) -> None:
    """Print what differs, and what became of it."""
    console = Console(markup=False)
    for stand in stands:
        became = {done.change.name: done for done in stand.done}
        if stand.error:
            console.print(Text(stand.page, style="bold"), Text(stand.error, style="red"))
        elif stand.wanted == CallSettings():
            console.print(Text(stand.page, style="bold"), Text("PAGES_FILE wants nothing of it", style="dim"))
        elif not stand.changes:
            console.print(Text(stand.page, style="bold"), Text("as PAGES_FILE wants it", style="green"))
        for change in stand.changes:
            told = _became(became.get(change.name))
            console.print(Text(stand.page, style="bold"), Text(str(change)), told, soft_wrap=True)


def _became(done: Done | None) -> Text:
    if done is None:
        return Text("")
    return Text(done.trouble, style="red") if done.trouble else Text("changed", style="green")
