"""Who may open the desk: agents and their passwords; a session is of an agent and the salt of the password.

pl:{0}:desk:agents             hash    name -> Account (JSON); passwords by scrypt (RFC 7914)
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

import msgspec

from shared.bus import PREFIX
from shared.errors import PagelineError
from shared.sessions import Sessions
from shared.wire import Wire

TRIES: Final = 10
"""Logins in vain for one name within `shared.tries.TRIES_S`."""
TRIES_OF_ADDRESS: Final = 100
"""From one address, which may be that of a proxy, and then of everybody."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 256

_AGENTS: Final = f"{PREFIX}desk:agents"
_N, _R, _P = 2**14, 8, 1
_MEMORY_BYTES: Final = 64 * 1024 * 1024


class BadAccount(PagelineError):
    """A name, a queue or a password cannot be used, or there is no such agent; the text says why."""


class Account(msgspec.Struct, frozen=True):
    """An agent."""

    name: str
    salt: str
    key: str
    queues: tuple[str, ...] = ()
    supervisor: bool = False


class Accounts:
    """The agents. Every method raises `RedisAway` when the server did not confirm."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sessions = Sessions(wire, "desk")

    async def all(self) -> list[Account]:
        """Return all agents, by name."""
        flat = await self._wire.call("HVALS", _AGENTS)
        return sorted((_read(each) for each in flat), key=lambda account: account.name)

    async def get(self, name: str) -> Account | None:
        """Return an agent."""
        kept = await self._wire.call("HGET", _AGENTS, name)
        return None if kept is None else _read(kept)

    async def add(self, name: str, password: str, *, queues: tuple[str, ...], supervisor: bool) -> Account:
        """Make an agent.

        Raises:
            BadAccount: there is one of that name, or name, queues or password are unusable.
        """
        _refuse_unless(NAME.fullmatch(name), f"{name!r} is no name for an agent: {_PLAIN}")
        for queue in queues:
            _refuse_unless(NAME.fullmatch(queue), f"{queue!r} is no name for a queue: {_PLAIN}")
        made = Account(name, *_hashed(password), queues, supervisor)
        if not await self._wire.call("HSETNX", _AGENTS, name, msgspec.json.encode(made)):
            raise BadAccount(f"There is an agent {name} already. Remove it first, or choose another name.")
        return made

    async def set_password(self, name: str, password: str) -> None:
        """Give an agent another password, which ends the sessions begun with the old one.

        Raises:
            BadAccount: there is no such agent, or the password is unusable.
        """
        known = await self.get(name)
        if known is None:
            raise BadAccount(f"There is no agent {name}. `pageline agents list` shows them.")
        salt, key = _hashed(password)
        await self._wire.call(
            "HSET", _AGENTS, name, msgspec.json.encode(msgspec.structs.replace(known, salt=salt, key=key))
        )

    async def remove(self, name: str) -> None:
        """Remove an agent, whose sessions are over with that.

        Raises:
            BadAccount: there is no such agent.
        """
        if not await self._wire.call("HDEL", _AGENTS, name):
            raise BadAccount(f"There is no agent {name}. `pageline agents list` shows them.")

    async def any(self) -> bool:
        """Tell whether there is an agent at all."""
        return bool(await self._wire.call("HLEN", _AGENTS))

    # -- logging in --------------------------------------------------------------------------------------------

    async def open_session(self, account: Account) -> str:
        """Return the token of a new session of an agent's."""
        return await self._sessions.open(f"{account.name} {account.salt}")

    async def of_session(self, token: str) -> Account | None:
        """Return whose session this is; none where it is over, or the agent was removed or has another password."""
        name, _, salt = (await self._sessions.find(token) or "").partition(" ")
        account = await self.get(name) if name else None
        return account if account is not None and account.salt == salt else None

    async def close_session(self, token: str) -> None:
        """End a session."""
        await self._sessions.close(token)


def is_password(account: Account | None, password: str) -> bool:
    """Tell whether it is the agent's password, in the same time whether there is such an agent or not.

    It takes some 50 ms of a processor: call it in a thread.
    """
    salt = bytes.fromhex(account.salt) if account else bytes(16)
    key = bytes.fromhex(account.key) if account else bytes(32)
    given = _scrypt(password[:LONGEST_PASSWORD], salt)
    return hmac.compare_digest(given, key) and account is not None


def new_password() -> str:
    """Return a password that nobody has guessed: 80 bits in groups that can be read out."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def _hashed(password: str) -> tuple[str, str]:
    fits = SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD
    _refuse_unless(fits, f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
    salt = secrets.token_bytes(16)
    return salt.hex(), _scrypt(password, salt).hex()


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY_BYTES, dklen=32)


def _read(kept: bytes) -> Account:
    return msgspec.json.decode(kept, type=Account)


def _refuse_unless(fits: object, why: str) -> None:
    if not fits:
        raise BadAccount(why)


_PLAIN: Final = "letters, digits, `_`, `.` and `-`, 32 at most, a letter or digit first."
