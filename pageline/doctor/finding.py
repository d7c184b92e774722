"""What a check finds."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    FIXED = "fixed"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    status: Status
    said: str
    remedy: str = ""
    """What to do, in a sentence; for what failed or was not checked."""
    page: str = ""
    switch: bool = False
    """It is one of the three without which no call ever arrives."""

    @property
    def failed(self) -> bool:
        """Tell whether something has to be done."""
        return self.status is Status.FAILED

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "check": self.check,
            "page": self.page or None,
            "status": str(self.status),
            "said": self.said,
            "remedy": self.remedy or None,
        }


def ok(check: str, said: str) -> Finding:
    """Find nothing wrong."""
    return Finding(check, Status.OK, said)


def failed(check: str, said: str, remedy: str) -> Finding:
    """Find something wrong."""
    return Finding(check, Status.FAILED, said, remedy)


def unchecked(check: str, said: str, remedy: str = "") -> Finding:
    """Find nothing out."""
    return Finding(check, Status.UNCHECKED, said, remedy)
