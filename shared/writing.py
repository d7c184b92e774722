"""The verbs of a `Call` that write to the consumer."""

from collections.abc import Awaitable
from typing import Protocol

from shared.meta import messages


class WritingHolder(Protocol):
    """What these verbs need of the worker that holds the call."""

    def message(self, page: str, psid: str, message: messages.Message) -> Awaitable[str]: ...


class Writing:
    """The verbs."""

    holder: WritingHolder

    @property
    def _parties(self) -> tuple[str, str]:
        """Return the Page and the consumer."""
        raise NotImplementedError

    async def message(
        self, text: str, *, title: str = "", call_button: str = "", days: int = messages.MOST_DAYS
    ) -> str:
        """Write to the consumer and return Meta's id of the message; it is never sent twice.

        With a `call_button`, a button of that name below the text calls the Page, for so many `days`; with a `title` as
        well, it is a card.

        Raises:
            MessageFailed: it was not sent, or nobody knows.
            ValueError: Meta would not take it: too long, empty, or not 1 to 7 days.
        """
        written = messages.composed(text, title=title, call_button=call_button, days=days)
        return await self.holder.message(*self._parties, written)

    async def prompt_call(self, *, ttl_days: int = messages.MOST_DAYS) -> str:
        """Send Meta's invitation to call the Page, good for so many days; otherwise as `message`."""
        return await self.holder.message(*self._parties, messages.call_prompt(ttl_days))

    async def ask_permission(self) -> str:
        """Ask the consumer whether the Page may call, which Meta allows twice a day; otherwise as `message`."""
        return await self.holder.message(*self._parties, messages.optin())
