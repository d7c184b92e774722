"""Graph's error bodies (reference, section 10.2)."""

import secrets
from typing import Any

FIRST_CALLING_CODE, LAST_CALLING_CODE = 2018389, 2018396


def envelope(
    code: int, message: str, *, subcode: int | None = None, errors_in: str = "code", **more: Any
) -> dict[str, Any]:
    """Builds an error body; calling codes sit where the setting says, with 100 before a subcode."""
    error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, "is_transient": False}
    if subcode is not None:
        error["error_subcode"] = subcode
    if errors_in == "error_subcode" and FIRST_CALLING_CODE <= code <= LAST_CALLING_CODE:
        error |= {"message": "Invalid parameter", "code": 100, "error_subcode": code, "error_user_title": message}
    return {"error": error | more | {"fbtrace_id": trace_id()}}


def trace_id() -> str:
    """Makes what Graph puts under every error."""
    return "A" + secrets.token_urlsafe(16)
