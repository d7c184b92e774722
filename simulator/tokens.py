"""Page access tokens: which are taken, which have expired, and the proof that goes with them (reference, 10.1)."""

import hashlib
import hmac
from typing import Any

from simulator.calls import Refused
from simulator.settings import Settings

APP_ID = "1234567890123456"
SCOPES = ["pages_show_list", "pages_messaging", "pages_manage_metadata"]
EXPIRED, INVALID = 463, 467


class Tokens:
    """Judges tokens; where the settings name none, any that has not been spoilt is good."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._good = set(settings.tokens)
        self._expired: set[str] = set()

    def set(self, token: str, *, valid: bool) -> None:
        """Lets a token be good from now on, or expired."""
        if valid:
            self._expired.discard(token)
            if self._good:
                self._good.add(token)
        else:
            self._expired.add(token)

    def check(self, token: str, proof: str | None) -> None:
        """Raises `Refused` unless the token is good, and its proof if there is one or must be one."""
        if token in self._expired:
            raise Refused(190, "Error validating access token: Session has expired", EXPIRED, status=401)
        if not self._is_known(token):
            raise Refused(190, "Invalid OAuth access token.", status=401)
        if proof is None and not self._settings.require_proof:
            return
        key = self._settings.app_secret.encode()
        if not hmac.compare_digest(hmac.new(key, token.encode(), hashlib.sha256).hexdigest(), proof or ""):
            raise Refused(100, "Invalid appsecret_proof provided in the API argument")

    def describe(self, token: str, page: str) -> dict[str, Any]:
        """Returns what `debug_token` says of a token; no expiry, as Page tokens of long-lived user tokens have none."""
        if not self._is_known(token) or token in self._expired:
            expired = token in self._expired
            why = "Session has expired" if expired else "Invalid OAuth access token."
            error = {"code": 190, "message": why, "subcode": EXPIRED if expired else INVALID}
            return {"app_id": APP_ID, "is_valid": False, "error": error, "scopes": []}
        return {
            "app_id": APP_ID,
            "type": "PAGE",
            "application": "simulator",
            "profile_id": page,
            "expires_at": 0,
            "is_valid": True,
            "scopes": SCOPES,
        }

    def _is_known(self, token: str) -> bool:
        app_token = f"{APP_ID}|{self._settings.app_secret}"
        return bool(token) and (not self._good or token in self._good or token == app_token)
