"""A Page at Meta, apart from its calls: its call settings, its subscription, its token. Nothing is tried twice.

An error of these edges says nothing about whether calls can be answered: nothing here feeds the breaker.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from shared.errors import PagelineError
from shared.meta import call_settings
from shared.meta import page as meta
from shared.meta.call_settings import CallSettings, Change
from shared.meta.remedy import remedy_for
from workers.action.graph import Graph
from workers.action.verdict import Attempt, is_unknown_path

T = TypeVar("T")


class Untold(PagelineError):
    """Graph did not do it, or told nothing readable; the message has the cause and, where it is known, the remedy."""

    def __init__(self, what: str, attempt: Attempt, *, hidden: str = "") -> None:
        words = _words_of(attempt)
        self.said = f"{what}: {words.replace(hidden, '...') if hidden else words}"
        self.remedy = remedy_for(attempt.error) if attempt.error or attempt.status is None else ""
        self.attempt = attempt
        super().__init__(f"{self.said}. {self.remedy}".rstrip())

    @property
    def nowhere(self) -> bool:
        """Tell whether Graph does not know the path, as a stand-in may not."""
        return is_unknown_path(self.attempt)


class PageAtMeta:
    """One Page, spoken to with its token. Every method raises `Untold` where Graph does not tell or do it.

    Args:
        app_id: our app; without it we cannot be told from other apps of the Page.
        heard: is told of every attempt.
    """

    def __init__(
        self,
        graph: Graph,
        page: str,
        token: str,
        *,
        app_id: str = "",
        heard: Callable[[Attempt], Awaitable[None]] | None = None,
    ) -> None:
        self.page = page
        self._graph = graph
        self._token = token
        self._app_id = app_id
        self._heard = heard

    async def call_settings(self) -> CallSettings:
        """Return the call settings."""
        what = "The call settings cannot be read"
        attempt = await self._ask(what, "GET", call_settings.EDGE, params={"fields": call_settings.FIELDS})
        return _told(what, attempt, call_settings.read_settings(attempt.body))

    async def change(self, change: Change) -> None:
        """Make one call setting what it is wanted to be."""
        what = f"{change.name} was not changed"
        attempt = await self._ask(what, "POST", call_settings.EDGE, body=change.body)
        if call_settings.refused(attempt.body):
            raise Untold(what, attempt)

    async def subscribed(self) -> frozenset[str]:
        """Return the webhook fields that our app is subscribed to for this Page."""
        what = "The subscription cannot be read"
        attempt = await self._ask(what, "GET", meta.SUBSCRIBED_APPS)
        return _told(what, attempt, meta.read_subscribed(attempt.body, self._app_id))

    async def subscribe(self, already: Iterable[str]) -> None:
        """Subscribe to what calls need and to what there was already: the list replaces the one before."""
        what = "The app was not subscribed"
        fields = {"subscribed_fields": meta.list_with_ours(already)}
        attempt = await self._ask(what, "POST", meta.SUBSCRIBED_APPS, params=fields)
        if call_settings.refused(attempt.body):
            raise Untold(what, attempt)

    async def calling(self) -> str:
        """Return the status of the calling feature, in lower case; `enabled` is the only one that is documented."""
        what = "The status of the calling feature cannot be read"
        attempt = await self._ask(what, "POST", meta.FEATURE_STATUS, body=meta.ASKS_FOR_STATUS)
        return _told(what, attempt, meta.read_feature(attempt.body))

    async def greet(self) -> Attempt:
        """Read the Page itself, which any valid token of it may."""
        return await self._ask("The Page cannot be read", "GET", "", params={"fields": "id"})

    async def token(self, app_secret: str) -> meta.TokenFacts:
        """Return what there is to know of the token; the app itself asks (`app_id` is needed)."""
        what, asking = "The token cannot be looked into", f"{self._app_id}|{app_secret}"
        attempt = await self._graph.request("GET", "debug_token", "", asking, params={"input_token": self._token})
        _refuse(what, attempt, hidden=self._token)
        return _told(what, attempt, meta.read_token(attempt.body))

    async def _ask(
        self, what: str, method: str, edge: str, *, body: bytes | None = None, params: Mapping[str, str] | None = None
    ) -> Attempt:
        attempt = await self._graph.request(method, self.page, edge, self._token, body=body, params=params)
        if self._heard is not None:
            await self._heard(attempt)
        _refuse(what, attempt)
        return attempt


async def callback_of(graph: Graph, app_id: str, app_secret: str) -> meta.Callback | None:
    """Return where the app has webhooks about Pages sent; none where it has not subscribed to any.

    Raises:
        Untold: Graph does not tell.
    """
    attempt = await graph.request("GET", app_id, "subscriptions", f"{app_id}|{app_secret}")
    _refuse("The app's webhooks cannot be read", attempt)
    return meta.read_callback(attempt.body)


def _refuse(what: str, attempt: Attempt, *, hidden: str = "") -> None:
    if attempt.error is not None or attempt.status is None or not 200 <= attempt.status < 300:
        raise Untold(what, attempt, hidden=hidden)


def _told(what: str, attempt: Attempt, read: T | None) -> T:
    if read is None:
        raise Untold(what, attempt)
    return read


def _words_of(attempt: Attempt) -> str:
    error = attempt.error
    if error is None:
        return attempt.trouble or f"Graph answered HTTP {attempt.status} and nothing that can be read"
    codes = (("code", error.code), ("subcode", error.error_subcode), ("fbtrace_id", error.fbtrace_id))
    named = ", ".join(f"{name} {code}" for name, code in codes if code)
    return f"{error.message.rstrip('.')} ({named})"
