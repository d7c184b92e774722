"""Finds the handlers of a call: the one that the settings choose for it, and who takes over when that raises."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from shared.calls.state import Call
from shared.errors import HandlerUnusable
from shared.handling import NO_OPTIONS
from shared.recording import RECORD_CONSENT
from shared.settings import Settings
from workers.media import handler
from workers.media.handler import Script


class Cast(NamedTuple):
    """Who may come to have a call, in turn."""

    names: tuple[str, ...]
    """`module:function` each; the first is never missing."""
    options: Mapping[str, str] = NO_OPTIONS


class Casting:
    """What the settings say of handlers.

    Raises:
        HandlerUnusable: one that is configured cannot be imported, or not with its options.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scripts = {name: handler.load(name) for name in sorted(settings.handlers)}
        for choice in (*settings.choices, *settings.without_options):
            handler.check(self._scripts[choice.handler], choice.options)

    @property
    def names(self) -> list[str]:
        """Return the handlers that are configured."""
        return list(self._scripts)

    def of(self, call: Call) -> Cast:
        """Return who takes a call; whoever owns it next is told the same, for its arrival counts and not the time."""
        chosen = self._settings.choose(call.page, caller=call.consumer, direction=call.direction, at_ms=call.arrived_ms)
        fallback = chosen.fallback or ()
        if call.handler:
            consent = {name: value for name, value in chosen.options.items() if name == RECORD_CONSENT}
            return Cast((call.handler, *fallback), MappingProxyType(consent))
        return Cast((chosen.handler, *fallback), MappingProxyType(dict(chosen.options)))

    def script(self, name: str, options: Mapping[str, str] = NO_OPTIONS) -> Script:
        """Return a handler that is configured, or one in the same module as such a one.

        Raises:
            HandlerUnusable: it is not, cannot be imported, or not with these options.
        """
        if name in self._scripts:
            script = self._scripts[name]
        elif self._settings.may_run(name):
            script = self._scripts[name] = handler.load(name)
        else:
            raise HandlerUnusable(
                f"{name} is in no module that CALL_HANDLER, CALL_HANDLERS, CALL_FALLBACK or PAGES_FILE names."
            )
        handler.check(script, options)
        return script._replace(options=options)
