"""API keys: who may use `/v1` and the console, and for what. Only their SHA-256 digests are kept in memory.

A key of ours has 256 bits, so that a fast hash without salt gives nothing away; nothing slower is needed.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from shared.errors import BadSetting

_HASHED: Final = "sha256="
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


class Scope(IntEnum):
    """What a key opens; a higher one opens what a lower one does."""

    READ = 1  # look
    CALL = 2  # place calls and end them
    ADMIN = 3  # handle dead letters, see whole PSIDs

    @property
    def word(self) -> str:
        """Return how PAGELINE_API_KEYS has it."""
        return self.name.lower()


_SCOPES: Final = {scope.word: scope for scope in Scope}


class ApiKey(NamedTuple):
    """One key."""

    scope: Scope
    digest: bytes
    """SHA-256 of the secret."""


def read(entries: Iterable[str]) -> tuple[ApiKey, ...]:
    """Read the entries of PAGELINE_API_KEYS: `[scope:]SECRET` or `[scope:]sha256=HEX`; without a scope it is `admin`.

    Raises:
        BadSetting: an entry has no secret, or what follows `sha256=` is no digest.
    """
    return tuple(_read(entry) for entry in entries)


def _read(entry: str) -> ApiKey:
    word, colon, rest = entry.partition(":")
    scope, secret = (_SCOPES[word], rest) if colon and word in _SCOPES else (Scope.ADMIN, entry)
    if not secret:
        raise BadSetting(f"PAGELINE_API_KEYS has an entry `{word}:` without a secret. `pageline keys new` makes one.")
    if not secret.startswith(_HASHED):
        return ApiKey(scope, digest_of(secret))
    digest = secret.removeprefix(_HASHED)
    if not _HEX.fullmatch(digest):
        raise BadSetting(
            "PAGELINE_API_KEYS has an entry with sha256= that 64 hexadecimal digits do not follow. "
            "`pageline keys new` makes a key and its entry."
        )
    return ApiKey(scope, bytes.fromhex(digest))


def new() -> str:
    """Return a secret that nobody has guessed: 256 bits."""
    return secrets.token_urlsafe(32)


def entry_of(secret: str, scope: Scope) -> str:
    """Return the entry of PAGELINE_API_KEYS for a secret, which does not hold it."""
    return f"{scope.word}:{_HASHED}{digest_of(secret).hex()}"


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def find(keys: Sequence[ApiKey], secret: str) -> ApiKey | None:
    """Return the key of this secret, in a time that tells nothing; of several, the one that opens most."""
    given = digest_of(secret)
    found: ApiKey | None = None
    for key in keys:
        same = hmac.compare_digest(key.digest, given)
        if same and (found is None or key.scope > found.scope):
            found = key
    return found if secret else None
