"""Records as signed webhooks (Standard Webhooks 1.0): `webhook-id` is the same however often a call's is sent."""

import hashlib
import re
import time
from typing import Final

import httpx
import msgspec

from shared import outward
from shared.calls.record import Record
from shared.records.sink import SinkFailed
from shared.standard_webhooks import signed

TYPE: Final = "call.ended"
WITHIN_S: Final = 8.0
_FIT_FOR_A_HEADER: Final = re.compile(r"[\w.:=-]{1,200}", re.ASCII)


class Hook:
    """A receiver."""

    def __init__(self, name: str, url: str, secret: str) -> None:
        self.name = name
        self._url = url
        self._secret = secret
        self._client = httpx.AsyncClient(timeout=WITHIN_S, follow_redirects=False, trust_env=False)

    async def take(self, record: Record) -> None:
        """Post a record; the receiver took it if it answers 2xx."""
        body = msgspec.json.encode({"type": TYPE, "timestamp": record.ended_at, "data": record})
        headers = signed(self._secret, f"record_{_fit(record.call_id)}", body, at_s=int(time.time()))
        try:
            (to, *_) = await outward.pin(self._url, "RECORDS_SINKS")
            reply = await self._client.post(
                to.url,
                content=body,
                headers={"content-type": "application/json", **headers, **to.headers},
                extensions=to.extensions,
            )
        except (httpx.HTTPError, OSError, outward.UrlRefused) as error:
            raise SinkFailed(f"it could not be reached: {type(error).__name__} {error}".rstrip()) from error
        if not reply.is_success:
            raise SinkFailed(f"it answered {reply.status_code}")

    async def remove(self, consumers: frozenset[str]) -> None:
        """What was told is told."""

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


def _fit(call_id: str) -> str:
    if _FIT_FOR_A_HEADER.fullmatch(call_id):
        return call_id
    return hashlib.blake2b(call_id.encode(), digest_size=16).hexdigest()
