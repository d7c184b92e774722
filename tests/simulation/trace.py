"""What happened in a run, line by line; two runs of one seed have the same trace to the byte."""

from collections.abc import Callable, MutableMapping
from typing import Any, Final, NoReturn

import structlog

from tests.simulation.scripts import PLANNED

MARK: Final = "VIOLATED"
CRASHES: Final = frozenset({"call.broken", "call.task_failed", "call.sound_failed", "handler.raised"})
"""Events of the product's log that no fault of the world excuses."""
EXPECTED: Final = ("AnswerRefused: ", f"RuntimeError: {PLANNED}")
"""What handlers may raise."""


class Violation(AssertionError):
    """A promise was broken."""


class Trace:
    """Lines of `time who what`, and the promises that were broken."""

    def __init__(self, time_s: Callable[[], float], who: Callable[[], object]) -> None:
        self.time_s = time_s
        self.who = who
        self.entries: list[tuple[float, str, str]] = []
        self.violations: list[str] = []
        self.over = False
        """Nothing that happens from now on is part of the run."""

    def note(self, what: str, *, who: object = None) -> None:
        """Write a line."""
        if not self.over:
            self.entries.append((self.time_s(), str(self.who() if who is None else who), what))

    def violated(self, promise: str) -> None:
        """Write down a broken promise; the run goes on."""
        self.note(f"{MARK} {promise}", who="checker")
        if not self.over:
            self.violations.append(promise)

    def take_error(self, process: object, context: dict[str, Any]) -> None:
        """Take what asyncio tells of an error that nobody caught."""
        error = context.get("exception")
        if str(context.get("message")).startswith("Exception in callback"):
            self.violated(f"nothing crashes: {process} {context['message']} {error!r}")

    def take_event(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        """Take a line of the product's log: the last processor of a structlog configuration."""
        name = event.pop("event", "")
        error = event.pop("exc_info", None)
        for unsteady in ("traceback", "waited_so_far"):  # lines of files, and real time
            event.pop(unsteady, None)
        told = " ".join(f"{key}={value}" for key, value in sorted(event.items()) if value is not None)
        cause = f" {error!r}" if isinstance(error, BaseException) else ""
        self.note(f"{level} {name} {told}{cause}")
        if name in CRASHES and not str(event.get("error")).startswith(EXPECTED):
            self.violated(f"nothing crashes: {name} {told}{cause}")
        raise structlog.DropEvent

    @property
    def lines(self) -> list[str]:
        """Return the trace as text."""
        return [f"{at_s:10.3f} {who:<10} {what}" for at_s, who, what in self.entries]
