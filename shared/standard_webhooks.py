"""How a webhook of ours is signed: Standard Webhooks 1.0 (standardwebhooks.com), symmetric, `v1`."""

import base64
import hmac
from typing import Final

BASE64_FOLLOWS: Final = "whsec_"


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for: itself, or what is base64 behind `whsec_`.

    Raises:
        ValueError: what is behind `whsec_` is no base64; the message does not repeat it.
    """
    if not secret.startswith(BASE64_FOLLOWS):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(BASE64_FOLLOWS), validate=True)
    except ValueError:
        raise ValueError(f"what is behind {BASE64_FOLLOWS} is no base64") from None


def signed(secret: str, id_: str, body: bytes, *, at_s: int) -> dict[str, str]:
    """Return the headers of a webhook; the id is the same however often it is sent. Without a secret none signs it."""
    headers = {"webhook-id": id_, "webhook-timestamp": str(at_s)}
    if secret:
        digest = hmac.digest(key_of(secret), f"{id_}.{at_s}.".encode() + body, "sha256")
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
