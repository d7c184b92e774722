"""The phone line as a handler author meets it: `line`, which `pageline` re-exports."""

from collections.abc import Awaitable
from typing import Final, Protocol

from shared.handling import Handler
from shared.meta import messages

RING_S: Final = 45.0
"""How long it rings at a consumer's, unless somebody says otherwise; what Meta allows is UNKNOWN."""

WITHIN_S: Final = 60.0
WITHIN_ASKED_S: Final = 24 * 3600.0
"""Where the consumer is asked first."""
WEEK_S: Final = 7 * 24 * 3600.0
"""Nobody has to wait for longer: that is how long leave to call lasts, once it is given (check-permissions)."""


class LineHolder(Protocol):
    """What a `Line` needs of the worker; every method is called on the handler's event loop."""

    def call(
        self,
        page: str,
        psid: str,
        handler: str,
        *,
        ask_permission: bool,
        within_s: float | None,
        ring_s: float,
        key: str,
    ) -> Awaitable[str]: ...
    def message(self, page: str, psid: str, message: messages.Message) -> Awaitable[str]: ...


class Line:
    """The phone line itself: what a handler does beyond its own call."""

    def __init__(self) -> None:
        self._holder: LineHolder | None = None

    def bind(self, holder: LineHolder | None) -> LineHolder | None:
        """Let a worker carry out what is asked for, and return who did before, if anybody."""
        before, self._holder = self._holder, holder
        return before

    async def call(
        self,
        page: str,
        psid: str,
        handler: Handler | str | None = None,
        *,
        ask_permission: bool = False,
        within_s: float | None = None,
        ring_s: float = RING_S,
        key: str = "",
    ) -> str:
        """Place a call to a consumer of a Page and return its id, once it is kept; `handler` then runs with it.

        The handler begins once we may call, and `await call.answer()` in it waits until the consumer has picked up;
        it raises `CallEnded` where nobody does. Without a handler the Page's own is run. Where we may not call and
        `ask_permission` is set, the consumer is asked, and the call is kept until there is an answer.

        Args:
            page: the Page's id.
            psid: the consumer's Page-scoped id.
            handler: a coroutine function in a module that is configured, or its name, `module:function`.
            ask_permission: ask the consumer for leave, where we have none; Meta allows two requests a day.
            within_s: do not ring later than this; a minute by default, a day where the consumer is asked.
            ring_s: give up when nobody has picked up for so long.
            key: of two requests with the same key within a day the second does nothing and gives the same id.

        Raises:
            ValueError: the handler is no function by itself, or in a module that is not configured; or the key came
                before, for another call.
            ConnectionError: Redis did not confirm; with the same `key`, try again.
        """
        holder = self._held("`pageline dial` or POST /v1/calls")
        name = _name_of(handler) if callable(handler) else handler or ""
        return await holder.call(
            page, psid, name, ask_permission=ask_permission, within_s=within_s, ring_s=ring_s, key=key
        )

    async def message(
        self,
        page: str,
        psid: str,
        text: str,
        *,
        title: str = "",
        call_button: str = "",
        days: int = messages.MOST_DAYS,
    ) -> str:
        """Write to any consumer of a Page; otherwise as `Call.message`."""
        written = messages.composed(text, title=title, call_button=call_button, days=days)
        return await self._held("`pageline message`").message(page, psid, written)

    async def prompt_call(self, page: str, psid: str, *, ttl_days: int = messages.MOST_DAYS) -> str:
        """Send any consumer of a Page Meta's invitation to call; otherwise as `Call.prompt_call`."""
        return await self._held("`pageline call-prompt`").message(page, psid, messages.call_prompt(ttl_days))

    async def ask_permission(self, page: str, psid: str) -> str:
        """Ask any consumer of a Page whether it may call; otherwise as `Call.ask_permission`.

        `call(..., ask_permission=True)` asks by itself, and calls once that is granted.
        """
        return await self._held("`pageline optin`").message(page, psid, messages.optin())

    def _held(self, elsewhere: str) -> LineHolder:
        if self._holder is None:
            raise RuntimeError(f"`line` works in handlers only; elsewhere use {elsewhere}")
        return self._holder


line: Final = Line()
"""The line that this process works for."""


def _name_of(handler: Handler) -> str:
    name: str = getattr(handler, "__qualname__", "")
    if not name.isidentifier():
        raise ValueError(f"{handler!r} cannot be named; pass a function of a module's top level")
    return f"{handler.__module__}:{name}"
