"""Bad weather by lot: webhooks doubled, shuffled and late, requests refused for no fault of their own."""

import random
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

from simulator.faults import Fault

LATEST_S = 1.0
"""How long at most a shuffled or doubled webhook is behind."""
TOKEN_BACK_S = 2.0
"""How long a token stays expired, as if somebody renewed it then."""

THROTTLED: tuple[tuple[int, str], ...] = (
    (4, "Application request limit reached"),
    (613, "Calls to this api have exceeded the rate limit."),
    (80006, "There have been too many calls to this Messenger account."),
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often each thing happens, from 0 to 1."""

    duplicates: float = 0.1
    """A webhook that was taken comes again."""
    disorder: float = 0.1
    """A webhook is overtaken by those after it."""
    delay: float = 0.1
    """A webhook comes late, and those after it with it."""
    delay_s: float = 2.0
    """How late at most, in seconds."""
    throttled: float = 0.02
    """A request meets a rate limit."""
    transient: float = 0.05
    """A request meets an error that says to try again."""
    tokens: float = 0.0
    """A request finds that its token has just expired."""

    @classmethod
    def parse(cls, text: str) -> "Rates":
        """Reads `duplicates=0.2,delay=0`; what is not named keeps its default. Raises ValueError with a sentence."""
        known = {field.name for field in fields(cls)}
        given: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, number = part.partition("=")
            if name not in known:
                raise ValueError(f"{name!r} is none of {', '.join(sorted(known))}")
            try:
                given[name] = float(number)
            except ValueError:
                raise ValueError(f"{name} must be a number, like {name}=0.1") from None
            if not 0 <= given[name] <= (60 if name == "delay_s" else 1):
                raise ValueError(f"{name} must be from 0 to {60 if name == 'delay_s' else 1}")
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Journey:
    """What befalls one webhook."""

    late_s: float = 0.0
    overtaken: bool = False
    again_after_s: float | None = None


class Chaos:
    """Draws lots; the nth webhook or request of a sort always draws the same for the same seed."""

    def __init__(self, rates: Rates | None, seed: int) -> None:
        self.seed = seed
        self.done: Counter[str] = Counter()
        self._rates = rates
        self._drawn: Counter[str] = Counter()

    def journey(self, event: str) -> Journey:
        """Draws for a webhook."""
        if self._rates is None:
            return Journey()
        lot = self._lot(f"webhook/{event}")
        delayed = self._happens(lot, "delay")
        overtaken = self._happens(lot, "disorder")
        doubled = self._happens(lot, "duplicates")
        return Journey(
            late_s=lot.random() * (self._rates.delay_s if delayed else LATEST_S) if delayed or overtaken else 0.0,
            overtaken=overtaken,
            again_after_s=lot.random() * LATEST_S if doubled else None,
        )

    def fault(self, action: str) -> Fault | None:
        """Draws for a request; None: nothing befalls it."""
        if self._rates is None:
            return None
        lot = self._lot(f"graph/{action}")
        if self._happens(lot, "throttled"):
            code, message = lot.choice(THROTTLED)
            error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, "is_transient": False}
            return Fault(action=action, kind="error", status=400, error=error)
        return Fault(action=action, kind="error") if self._happens(lot, "transient") else None

    def token_expires(self, action: str) -> bool:
        """Draws for the token of a request."""
        return self._rates is not None and self._happens(self._lot(f"token/{action}"), "tokens")

    def view(self) -> dict[str, Any]:
        """Returns the seed and how often what has happened, as JSON shows it."""
        return {"seed": self.seed, "done": dict(self.done)} if self._rates is not None else {}

    def _lot(self, sort: str) -> random.Random:
        self._drawn[sort] += 1
        return random.Random(f"{self.seed}/{sort}/{self._drawn[sort]}")

    def _happens(self, lot: random.Random, what: str) -> bool:
        happens = bool(lot.random() < getattr(self._rates, what))
        self.done[what] += happens
        return happens
