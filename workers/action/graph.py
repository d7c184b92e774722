"""Graph, spoken here only: one warm pool of connections, typed attempts instead of exceptions."""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Self

import httpx
from msgspec.structs import replace

from shared import outward
from shared.clock import monotonic_s
from shared.meta.graph import CallsReply, read_reply
from shared.meta.signature import appsecret_proof
from workers.action.usage import read_usage
from workers.action.verdict import Attempt, Sent

POOL_SIZE = 50
CONNECT_TIMEOUT_S = 2.0
REPLY_TIMEOUT_S = 5.0
"""For the first byte of a reply, and between two of its pieces."""

WHOLE_REPLY_TIMEOUT_S = 8.0
"""For everything, from the connection to the reply's last byte: one that trickles has no other end."""

MAX_REPLY_BYTES = 1024 * 1024
"""A reply holds two session descriptions at the most, some 10 KiB."""

SHORTEST_TOKEN: Final = 16
"""Shorter ones open nothing: a stand-in's."""

LONGEST_TRACE_ID: Final = 64

_LONG_NUMBER: Final = re.compile(r"\d{12,}")
"""Ids of Pages and consumers have 15 digits and more; no code of an error has so many."""

_HEADERS: Final = {"content-type": "application/json", "accept-encoding": "identity"}
"""Replies are asked for and read uncompressed, so that what arrives is what it weighs."""


class Graph:
    """Sends requests to `{url}/{version}/{page}/{edge}`; with an app secret each proves that it is the app's.

    HTTP/1.1 with keep-alive: one HTTP/2 GOAWAY fails every request in flight, and for `accept` each of those is
    ambiguous.
    """

    def __init__(
        self, url: str, version: str, *, app_secret: bytes = b"", within_s: float = WHOLE_REPLY_TIMEOUT_S
    ) -> None:
        self._within_s = within_s
        self._app_secret = app_secret
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

    async def request(
        self,
        method: str,
        page: str,
        edge: str,
        token: str,
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Attempt:
        """Send one request about a Page, `edge` "" for the Page itself; raises nothing of httpx's."""
        started = monotonic_s()
        params = dict(params or {})
        if self._app_secret:
            params["appsecret_proof"] = appsecret_proof(self._app_secret, token)
        request = self._client.build_request(
            method,
            f"{self._base}/{page}/{edge}".rstrip("/"),
            content=body,
            params=params or None,
            headers={**_HEADERS, "authorization": f"Bearer {token}"},
        )
        try:
            async with asyncio.timeout(self._within_s):
                response = await self._client.send(request, stream=True)
                try:
                    heard = await _read(response)
                finally:
                    await response.aclose()
        except httpx.LocalProtocolError:  # its words may quote the token
            return Attempt(Sent.NEVER, took_ms=_since_ms(started), trouble="the request could not be written")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            return Attempt(Sent.NEVER, took_ms=_since_ms(started), trouble=f"no connection: {error!r}")
        except (httpx.HTTPError, TimeoutError) as error:
            return Attempt(Sent.MAYBE, took_ms=_since_ms(started), trouble=f"no reply: {error!r}")
        return Attempt(
            Sent.REPLIED,
            status=response.status_code,
            reply=None if heard is None else _without(token, page, read_reply(heard)),
            body=heard,
            retry_after_s=_retry_after_s(response),
            took_ms=_since_ms(started),
            usage=read_usage(response.headers),
            date_s=_date_s(response),
            heard_as=response.headers.get("x-fb-trace-id", "")[:LONGEST_TRACE_ID] or None,
        )

    async def pass_on(self, url: str, body: bytes, signature: bytes) -> int:
        """Post a webhook body as it came to another receiver; return its status.

        Raises:
            httpx.HTTPError: it could not be reached.
            UrlRefused: the URL leads where it may not.
        """
        try:
            *others, last = await outward.pin(url, "WEBHOOK_FORWARD_URL")
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        headers = {"content-type": "application/json", "x-hub-signature-256": signature.decode("latin-1")}
        for to in others:
            with contextlib.suppress(httpx.ConnectError):
                return await self._pass_on(to, body, headers)
        return await self._pass_on(last, body, headers)

    async def _pass_on(self, to: outward.Pinned, body: bytes, headers: dict[str, str]) -> int:
        async with self._client.stream(
            "POST", to.url, content=body, headers=headers | to.headers, extensions=to.extensions
        ) as response:
            return response.status_code  # what it says beside that is not read


def _without(token: str, page: str, reply: CallsReply | None) -> CallsReply | None:
    """Take out of an error's words, which are logged, the token and whatever may be the id of a consumer.

    "Malformed access token" is followed by it, and "No matching user found" may be.
    """
    if reply is None or reply.error is None:
        return reply
    said = reply.error.message
    if len(token) >= SHORTEST_TOKEN:
        said = said.replace(token, "...")
    said = _LONG_NUMBER.sub(lambda number: number[0] if number[0] == page else "...", said)
    return replace(reply, error=replace(reply.error, message=said))


def _since_ms(started: float) -> int:
    return int((monotonic_s() - started) * 1000)


async def _read(response: httpx.Response) -> bytes | None:
    """Return the body as it came; none where it is larger than any reply of Graph's."""
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            return None
    return bytes(body)


def _retry_after_s(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _date_s(response: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
