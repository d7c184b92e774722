"""What consumers are called where their ids must not be."""

import hashlib


def pseudonym(psid: str) -> str:
    """Return a stable stand-in for a consumer's id, fit for logs and records."""
    return hashlib.blake2b(psid.encode(), digest_size=6, person=b"pageline").hexdigest()
