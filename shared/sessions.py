"""Who is logged in: a token that only the browser knows, and what is known of whoever has it.

pl:{0}:<area>:session:<digest of the token>   string  what was said of the session when it began
"""

import hashlib
import secrets
from typing import Final

from shared.bus import PREFIX
from shared.wire import Wire

SESSION_S: Final = 12 * 3600


class Sessions:
    """The sessions of one area. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire, area: str) -> None:
        self._wire = wire
        self._area = area

    async def open(self, about: str) -> str:
        """Return the token of a new session."""
        token = secrets.token_urlsafe(32)
        await self._wire.call("SET", self._key(token), about, "EX", SESSION_S)
        return token

    async def find(self, token: str) -> str | None:
        """Return what was said of a session; none where it is over."""
        kept = await self._wire.call("GET", self._key(token)) if token else None
        return None if kept is None else str(kept.decode())

    async def close(self, token: str) -> None:
        """End a session."""
        await self._wire.call("DEL", self._key(token))

    def _key(self, token: str) -> str:
        return f"{PREFIX}{self._area}:session:{hashlib.sha256(token.encode()).hexdigest()}"
