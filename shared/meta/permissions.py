"""Bodies of Graph's `messenger_call_permissions` edge, in all three documented shapes (check-permissions)."""

from typing import Final, NamedTuple

import msgspec

from shared.unreadable import UNREADABLE

START_CALL: Final = "start_call"
ASK: Final = "send_call_permission_request"


class CallPermission(NamedTuple):
    """Whether we may call a consumer, and whether we may ask to."""

    status: str
    """`has_permission` or `no_permission`, lower case; "" where it is not told."""
    may_call: bool
    may_ask: bool
    expires_s: int | None = None
    """Unix seconds."""


class _Permission(msgspec.Struct):
    status: str = ""
    expiration_time: int | None = None


class _Action(msgspec.Struct):
    action_name: str = ""
    can_perform: bool | None = None
    can_perform_action: bool | None = None

    @property
    def allowed(self) -> bool:
        """Return the flag, whichever of its two names it has."""
        return bool(self.can_perform if self.can_perform is not None else self.can_perform_action)


class _Body(msgspec.Struct):
    permission: _Permission | None = None
    actions: list[_Action] = []
    data: list["_Body"] = []


_decode = msgspec.json.Decoder(_Body, strict=False).decode


def read_permission(body: bytes | None) -> CallPermission | None:
    """Decode a reply; none where it tells nothing of the kind.

    `start_call` depends on a quota too, whose size nobody documents: where the flag is there, it decides.
    """
    try:
        told = _decode(body or b"")
    except UNREADABLE:
        return None
    told = told.data[0] if told.data else told
    if told.permission is None and not told.actions:
        return None
    permission = told.permission or _Permission()
    allowed: dict[str, bool] = {action.action_name: action.allowed for action in told.actions}
    status = permission.status.lower()
    return CallPermission(
        status,
        may_call=allowed.get(START_CALL, status == "has_permission"),
        may_ask=allowed.get(ASK, True),
        expires_s=permission.expiration_time,
    )
