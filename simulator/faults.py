"""Planned misbehaviour of Graph: slow answers, errors, lines that are cut before or after the work is done."""

from typing import Any, Literal

import msgspec

Kind = Literal["latency", "error", "drop_before", "drop_after"]


class Fault(msgspec.Struct, kw_only=True):
    """Holds one planned fault: what happens to the next `times` requests of an action (`*`: any; null: for good).

    `latency` waits and then goes on; `error` answers `status` and `error` (or the raw `text`) and does nothing else;
    `drop_before` cuts the connection without working; `drop_after` works, and cuts it instead of answering.
    """

    action: str = "*"
    kind: Kind
    times: int | None = 1
    latency_ms: float = 0
    status: int = 500
    error: dict[str, Any] = msgspec.field(
        default_factory=lambda: {
            "message": "An unexpected error has occurred. Please retry your request later.",
            "type": "OAuthException",
            "code": 2,
            "is_transient": True,
        }
    )
    text: str | None = None
    headers: dict[str, str] = {}


class Faults:
    """Keeps the planned faults, first in first out."""

    def __init__(self) -> None:
        self.planned: list[Fault] = []

    def take(self, action: str) -> list[Fault]:
        """Returns what shall happen to this request: every latency that applies, and at most one other fault."""
        chosen: list[Fault] = []
        for fault in self.planned:
            spent = any(earlier.kind != "latency" for earlier in chosen) and fault.kind != "latency"
            if fault.action in ("*", action) and fault.times != 0 and not spent:
                chosen.append(fault)
                if fault.times is not None:
                    fault.times -= 1
        self.planned = [fault for fault in self.planned if fault.times != 0]
        return chosen
