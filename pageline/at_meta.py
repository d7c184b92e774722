"""The Pages at Meta, for commands: which ones, and with whom to speak of each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from shared.errors import BadSetting
from shared.settings import Settings
from workers.action.graph import Graph
from workers.action.page_at_meta import PageAtMeta

T = TypeVar("T")

AT_ONCE: Final = 8


def graph_of(settings: Settings) -> Graph:
    """Return Graph as these settings have it, not opened yet."""
    return Graph(settings.graph_url, settings.graph_version, app_secret=settings.proving_secret)


@contextlib.asynccontextmanager
async def pages_at_meta(settings: Settings, only: str = "") -> AsyncIterator[list[PageAtMeta]]:
    """Lend the Pages that have a token, or one of them.

    Raises:
        BadSetting: there is no such Page, or it has no token.
    """
    tokens = settings.page_token_by_page
    if only and only not in tokens:
        raise BadSetting(f"Page {only} has no access token. Those that have one: {', '.join(sorted(tokens))}.")
    async with graph_of(settings) as graph:
        yield [
            PageAtMeta(graph, page, token, app_id=settings.meta_app_id)
            for page, token in sorted(tokens.items())
            if only in ("", page)
        ]


async def of_each(pages: list[PageAtMeta], step: Callable[[PageAtMeta], Awaitable[T]]) -> list[T]:
    """Take a step for each Page, some at once, and return what came of it in the same order."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def take(page: PageAtMeta) -> T:
        async with turns:
            return await step(page)

    return await asyncio.gather(*map(take, pages))
