"""Who may look at the console: whoever logged in with a key of PAGELINE_API_KEYS that is still one."""

import hashlib
from collections.abc import Sequence

from shared import api_keys
from shared.api_keys import ApiKey, Scope
from shared.sessions import Sessions
from shared.wire import Wire


class Doorman:
    """The sessions. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire, keys: Sequence[ApiKey]) -> None:
        self._sessions = Sessions(wire, "console")
        self._keys = {_fingerprint(key): key for key in sorted(keys, key=lambda key: key.scope)}

    @property
    def any(self) -> bool:
        """Whether there is a key at all."""
        return bool(self._keys)

    async def let_in(self, secret: str) -> str | None:
        """Return the token of a new session, or none where it is no key."""
        key = api_keys.find([*self._keys.values()], secret)
        return None if key is None else await self._sessions.open(_fingerprint(key))

    async def scope_of(self, token: str) -> Scope | None:
        """Return what a session may do; none where it is over, or its key was taken out of PAGELINE_API_KEYS."""
        key = self._keys.get(await self._sessions.find(token) or "")
        return None if key is None else key.scope

    async def let_out(self, token: str) -> None:
        """End a session."""
        await self._sessions.close(token)


def _fingerprint(key: ApiKey) -> str:
    """Name a key without giving away what stands in PAGELINE_API_KEYS."""
    return hashlib.sha256(b"console " + key.digest).hexdigest()[:32]
