"""Meta's signatures: webhooks by app secret, Graph requests by proof (webhooks "getting started"; secure requests)."""

import hmac
from collections.abc import Iterable

HEADER = b"x-hub-signature-256"
_PREFIX = b"sha256="


def sign(secret: bytes, body: bytes) -> bytes:
    """Return the header value Meta sends for these raw body bytes."""
    return _PREFIX + hmac.digest(secret, body, "sha256").hex().encode()


def is_signed(secrets: Iterable[bytes], body: bytes, header: bytes | None) -> bool:
    """Tell, in constant time per secret, whether one of the secrets signed these raw bytes."""
    if header is None or not header.startswith(_PREFIX):
        return False
    genuine = False
    for secret in secrets:
        genuine |= hmac.compare_digest(sign(secret, body), header.lower())
    return genuine


def appsecret_proof(secret: bytes, token: str) -> str:
    """Return the proof that this app holds the token: lower-case hex HMAC-SHA256 of it under the app secret."""
    return hmac.digest(secret, token.encode(), "sha256").hex()
