"""Who may be called: permissions of a Page with a person, the requests for them, and what Graph tells of both."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from simulator.calls import Refused
from simulator.settings import PermissionShape, Settings

LASTS_S = 7 * 86_400.0  # section 5.2
DAY_S = 86_400.0
REQUESTS_PER_DAY = 2  # per thread, section 5.2
CUSTOM_RATE_LIMIT, OPT_IN_LIMIT = 613, 1893016  # section 10.3


@dataclass(slots=True)
class Permission:
    """Holds what one person allows one Page; times are Unix seconds."""

    expires_s: float | None = None
    may_call: bool | None = None
    """What `start_call` says where a test sets it; None: as the permission and the quota have it."""
    requests_s: list[float] = field(default_factory=list)
    calls_s: list[float] = field(default_factory=list)


class Permissions:
    """Keeps every permission."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._kept: dict[tuple[str, str], Permission] = defaultdict(Permission)

    def grant(self, page: str, psid: str, *, lasts_s: float = LASTS_S) -> int:
        """Lets the Page call the person for a time; returns until when, as Unix seconds."""
        expires_s = self._clock() + lasts_s
        self._kept[page, psid].expires_s = expires_s
        return int(expires_s)

    def revoke(self, page: str, psid: str) -> None:
        """Takes the permission back."""
        self._kept[page, psid].expires_s = None

    def imply(self, page: str, psid: str) -> None:
        """Grants what a call grants by itself: one that was connected, or one from a person (section 5.2)."""
        if self._settings.implied_permission:
            self.grant(page, psid)

    def set_may_call(self, page: str, psid: str, may_call: bool | None) -> None:
        """Makes `start_call` say so, as a quota of unknown size would."""
        self._kept[page, psid].may_call = may_call

    def count_request(self, page: str, psid: str) -> None:
        """Counts a permission request, or raises `Refused` when a thread has had its two of the day."""
        permission = self._kept[page, psid]
        if len(self._today(permission.requests_s)) >= REQUESTS_PER_DAY:
            raise Refused(CUSTOM_RATE_LIMIT, "Calls to this api have exceeded the rate limit.", OPT_IN_LIMIT)
        permission.requests_s.append(self._clock())

    def check_call(self, page: str, psid: str) -> None:
        """Raises `Refused` unless the Page may call the person now; neither code is documented (section 12)."""
        permission = self._kept[page, psid]
        if not self._granted(permission):
            raise Refused(self._settings.no_permission_code, "Consumer has not given permission to call")
        if not self._may_call(permission):
            raise Refused(self._settings.call_limit_code, "Call rate limit exceeded")

    def count_call(self, page: str, psid: str) -> None:
        """Counts a call of the Page's to the person, which the quota is about."""
        self._kept[page, psid].calls_s.append(self._clock())

    def body(self, page: str, psid: str) -> dict[str, Any]:
        """Returns what `GET /{page}/messenger_call_permissions` says, in one of three documented shapes (5.1)."""
        permission = self._kept[page, psid]
        requests = len(self._today(permission.requests_s))
        shape: PermissionShape = self._settings.permission_shape
        allowed = "can_perform_action" if shape == "can_perform_action" else "can_perform"
        most = "max_allowed_per_user" if shape == "can_perform_action" else "max_allowed"
        status: Literal["has_permission", "no_permission"]
        status = "has_permission" if self._granted(permission) else "no_permission"
        told: dict[str, Any] = {
            "permission": {"status": status.upper() if shape == "data" else status},
            "actions": [
                {
                    "action_name": "send_call_permission_request",
                    allowed: requests < REQUESTS_PER_DAY,
                    "limits": [{"time_period": "PT24H", most: REQUESTS_PER_DAY, "current_usage": requests}],
                },
                {"action_name": "start_call", allowed: self._granted(permission) and self._may_call(permission)},
            ],
        }
        if self._granted(permission):
            told["permission"]["expiration_time"] = int(permission.expires_s or 0)
        return {"data": [told]} if shape == "data" else told

    def view(self) -> list[dict[str, Any]]:
        """Lists every permission ever asked about, as `/sim/permissions` shows it."""
        return [
            {
                "page": page,
                "psid": psid,
                "granted": self._granted(permission),
                "may_call": self._granted(permission) and self._may_call(permission),
                "expires_s": permission.expires_s,
                "requests_today": len(self._today(permission.requests_s)),
                "calls_today": len(self._today(permission.calls_s)),
            }
            for (page, psid), permission in self._kept.items()
        ]

    def _granted(self, permission: Permission) -> bool:
        return permission.expires_s is not None and permission.expires_s > self._clock()

    def _may_call(self, permission: Permission) -> bool:
        if permission.may_call is not None:
            return permission.may_call
        quota = self._settings.calls_per_day
        return quota is None or len(self._today(permission.calls_s)) < quota

    def _today(self, times_s: list[float]) -> list[float]:
        return [at_s for at_s in times_s if at_s > self._clock() - DAY_S]
