"""Where a URL that somebody gave us may lead: one rule for bots, webhooks and stores.

    https, wss   anywhere public, and on this machine
    http, ws     on this machine only
    ALLOW_PRIVATE_URLS=1   private networks too, and without TLS
    never        link-local addresses, where clouds keep their machines' credentials, nor addresses that are nobody's

Otherwise whoever can set a URL, a Page's table say, could have us ask what only we can reach. A name is looked up once
and connected to by the address that was judged, so that no second answer of a name server's leads elsewhere.
"""

import asyncio
import os
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}
ENCRYPTED: Final = frozenset({"https", "wss"})
_NAT64: Final = IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset(map(ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")))
"""Of Alibaba, Oracle, AWS and Google; all others are link-local."""


class UrlRefused(ValueError):
    """A URL leads where it may not; the text names the setting and the remedy, and quotes no query."""


class Pinned(NamedTuple):
    """A URL by the address that was judged, and what a request by httpx needs beside it."""

    url: str
    headers: dict[str, str]
    extensions: dict[str, str]


def check(url: str, setting: str) -> None:
    """Judge what can be told without asking a name server; for the start of a process.

    Raises:
        UrlRefused: the URL is none, or may not be used.
    """
    parts = _parts(url, setting)
    host = parts.hostname or ""
    address = _literal(host)
    if address is not None:
        _judge(setting, parts, [address])
    elif parts.scheme not in ENCRYPTED and not (_is_local(host) or _allows_private()):
        raise UrlRefused(_unencrypted(setting, parts))


async def resolve(url: str, setting: str) -> list[str]:
    """Return the addresses to connect to, one after the other until one answers.

    Raises:
        UrlRefused: the URL leads where it may not.
        OSError: the name is not known.
    """
    if _literal(_parts(url, setting).hostname or "") is not None:
        return resolve_now(url, setting)  # asks nobody
    return await asyncio.to_thread(resolve_now, url, setting)


def resolve_now(url: str, setting: str) -> list[str]:
    """As `resolve`, and blocks meanwhile."""
    check(url, setting)
    parts = _parts(url, setting)
    host = parts.hostname or ""
    if (address := _literal(host)) is not None:
        return [str(address)]
    found = socket.getaddrinfo(host, parts.port or PORTS[parts.scheme], type=socket.SOCK_STREAM)
    addresses = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    _judge(setting, parts, addresses)
    return list(map(str, dict.fromkeys(addresses)))


async def pin(url: str, setting: str) -> list[Pinned]:
    """Return what to give httpx so that it connects to an address that was judged, by the name in the URL.

    Raises:
        UrlRefused: the URL leads where it may not.
        OSError: the name is not known.
    """
    parts = _parts(url, setting)
    return [_pinned(parts, address) for address in await resolve(url, setting)]


def _pinned(parts: SplitResult, address: str) -> Pinned:
    host = f"[{address}]" if ":" in address else address
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    named = parts.netloc.rpartition("@")[2]
    return Pinned(parts._replace(netloc=netloc).geturl(), {"host": named}, {"sni_hostname": parts.hostname or ""})


def _parts(url: str, setting: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise UrlRefused(f"{setting} is not usable: write a URL with a host, such as https://example.com/path")
    return parts


def _judge(setting: str, parts: SplitResult, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
    """Refuse a host if one of its addresses is refused: which one is used next is a name server's choice."""
    for address in map(_plain, addresses):
        if address.is_link_local or address in _METADATA:
            raise UrlRefused(
                f"{setting} is not usable: {parts.hostname} leads to {address}, where clouds keep their machines' "
                "credentials; nothing of ours ever asks there"
            )
        if address.is_unspecified or address.is_multicast or (address.is_reserved and not address.is_loopback):
            raise UrlRefused(f"{setting} is not usable: {parts.hostname} leads to {address}, which is nobody's address")
        if address.is_loopback or _allows_private():
            continue
        if not address.is_global:
            raise UrlRefused(
                f"{setting} is not usable: {parts.hostname} leads to {address}, in a private network. Set "
                "ALLOW_PRIVATE_URLS=1 if whoever can set such URLs may reach all that this machine can reach"
            )
        if parts.scheme not in ENCRYPTED:
            raise UrlRefused(_unencrypted(setting, parts))


def _unencrypted(setting: str, parts: SplitResult) -> str:
    encrypted = "wss" if parts.scheme == "ws" else "https"
    return (
        f"{setting} is not usable: {parts.scheme}:// goes unencrypted, and {parts.hostname} is not this machine. Write "
        f"{encrypted}://, or set ALLOW_PRIVATE_URLS=1 if the network in between is your own"
    )


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the address of version 4 that one of version 6 stands for."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _allows_private() -> bool:
    return os.environ.get("ALLOW_PRIVATE_URLS", "").strip().lower() in ("1", "true", "yes", "on")
