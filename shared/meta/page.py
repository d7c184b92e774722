"""How a Page stands at Meta, as Graph tells it: what the app is subscribed to, whether calling is enabled, its token.

Pages: webhooks "subscribed_apps"; calling overview (`business_messaging_feature_status`); references `debug_token` and
`application/subscriptions`. Whatever cannot be read is none.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from shared.unreadable import UNREADABLE

SUBSCRIBED_APPS: Final = "subscribed_apps"
FEATURE_STATUS: Final = "business_messaging_feature_status"
CALLING: Final = "messenger_api_calling"
CALLS: Final = "calls"
FIELDS: Final = (CALLS, "call_permission_reply", "call_settings_update")
"""What a Page is subscribed to for calls; whatever else it has is kept, since a list that is sent replaces the last."""

PERMISSIONS: Final = ("pages_messaging", "pages_manage_metadata")

ASKS_FOR_STATUS: Final = msgspec.json.encode({"features": [{"feature": CALLING}]})


class TokenFacts(msgspec.Struct, frozen=True):
    """What `debug_token` says of a Page access token."""

    valid: bool
    app_id: str = ""
    expires_s: int = 0
    """Unix seconds; 0 means never."""
    scopes: tuple[str, ...] | None = None


class Callback(msgspec.Struct, frozen=True):
    """Where the app has its webhooks of object `page` sent, and which fields."""

    url: str
    fields: frozenset[str]
    active: bool


def list_with_ours(subscribed: Iterable[str]) -> str:
    """Return the full list to subscribe to: what calls need, then the rest of what there was."""
    return ",".join((*FIELDS, *sorted(set(subscribed) - set(FIELDS))))


def read_subscribed(body: bytes | None, app_id: str) -> frozenset[str] | None:
    """Return the fields our app is subscribed to; none where the reply does not tell, or not which app is ours.

    UNKNOWN: whether a Page token is told of other apps than its own. The reference has both.
    """
    apps = _listed(body)
    if apps is None:
        return None
    if app_id:
        apps = [app for app in apps if str(app.get("id", "")) == app_id]
    if len(apps) > 1:
        return None
    return _names(apps[0].get("subscribed_fields")) if apps else frozenset()


def read_feature(body: bytes | None) -> str | None:
    """Return the status of calling, in lower case: the page says `ENABLED`, its sample `enabled`."""
    for each in _listed(body) or ():
        if str(each.get("feature", "")).lower() == CALLING:
            return str(each.get("status", "")).lower()
    return None


def read_token(body: bytes | None) -> TokenFacts | None:
    """Read the reply of `debug_token`."""
    reply = _decoded(body)
    data = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("is_valid"), bool):
        return None
    expires, scopes = data.get("expires_at"), data.get("scopes")
    return TokenFacts(
        valid=data["is_valid"],
        app_id=str(data.get("app_id", "")),
        expires_s=expires if isinstance(expires, int) else 0,
        scopes=tuple(map(str, scopes)) if isinstance(scopes, list) else None,
    )


def read_callback(body: bytes | None) -> Callback | None:
    """Read from `/{app-id}/subscriptions` what concerns Pages; none also where there is no such subscription."""
    for each in _listed(body) or ():
        if each.get("object") == "page":
            return Callback(
                url=str(each.get("callback_url", "")),
                fields=_names(each.get("fields")),
                active=each.get("active") is not False,
            )
    return None


def _names(said: Any) -> frozenset[str]:
    """Return names, whether they are listed as such or as objects that have them."""
    listed = said if isinstance(said, list) else []
    return frozenset(str(each.get("name", "")) if isinstance(each, dict) else str(each) for each in listed)


def _listed(body: bytes | None) -> list[dict[str, Any]] | None:
    reply = _decoded(body)
    data = reply.get("data") if isinstance(reply, dict) else None
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else None


def _decoded(body: bytes | None) -> Any:
    try:
        return msgspec.json.decode(body or b"")
    except UNREADABLE:
        return None
