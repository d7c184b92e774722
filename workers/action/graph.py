"""Graph, spoken here only: one warm pool of connections, typed attempts instead of exceptions."""

from typing import Self

import httpx

from shared.clock import monotonic_s
from shared.meta.graph import read_reply, request_body
from workers.action.verdict import Attempt, Sent

POOL_SIZE = 50
CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 5.0


class Graph:
    """Posts actions on calls to `{url}/{version}/{page}/calls`.

    HTTP/1.1 with keep-alive: one HTTP/2 GOAWAY fails every request in flight, and for `accept` each of those is
    ambiguous.
    """

    def __init__(self, url: str, version: str) -> None:
        self._base = f"{url.rstrip('/')}/{version}"
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=POOL_SIZE, max_keepalive_connections=POOL_SIZE, keepalive_expiry=60),
            timeout=httpx.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S),
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Open the pool."""
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pool."""
        await self._client.aclose()

    async def act(self, page: str, token: str, action: str, call_id: str, *, offer: str | None = None) -> Attempt:
        """Post one action and tell how far it got; raises nothing of httpx's."""
        started = monotonic_s()
        try:
            response = await self._client.post(
                f"{self._base}/{page}/calls",
                content=request_body(action, call_id, offer),
                headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            return Attempt(Sent.NEVER, took_ms=_since_ms(started), trouble=f"no connection: {error!r}")
        except httpx.HTTPError as error:
            return Attempt(Sent.MAYBE, took_ms=_since_ms(started), trouble=f"no reply: {error!r}")
        return Attempt(
            Sent.REPLIED,
            status=response.status_code,
            reply=read_reply(response.content),
            retry_after_s=_retry_after_s(response),
            took_ms=_since_ms(started),
        )

    async def pass_on(self, url: str, body: bytes, signature: bytes) -> int:
        """Post a webhook body as it came to another receiver; return its status.

        Raises:
            httpx.HTTPError: it could not be reached.
        """
        headers = {b"content-type": b"application/json", b"x-hub-signature-256": signature}
        return (await self._client.post(url, content=body, headers=headers)).status_code


def _since_ms(started: float) -> int:
    return int((monotonic_s() - started) * 1000)


def _retry_after_s(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
