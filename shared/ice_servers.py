"""`ICE_SERVERS`: STUN and TURN servers as URLs (RFC 7064, RFC 7065), read with errors that name the remedy."""

import re
from dataclasses import dataclass, field
from typing import Final

from shared.errors import BadSetting

_URL: Final = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>\d{1,5}))?(\?transport=(?P<by>udp|tcp))?",
    re.ASCII | re.IGNORECASE,
)
_EXAMPLE: Final = "turn:turn.example.org:3478?transport=udp"


@dataclass(frozen=True, slots=True)
class IceServer:
    """One server; `str` gives its URL, which holds no secret."""

    scheme: str  # "stun", "stuns", "turn" or "turns"
    host: str
    port: int
    transport: str  # "udp" or "tcp": between us and the server
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def relays(self) -> bool:
        """Whether it is a TURN server."""
        return self.scheme.startswith("turn")

    @property
    def tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme.endswith("s")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}:{host}:{self.port}" + (f"?transport={self.transport}" if self.relays else "")


def read_servers(urls: tuple[str, ...], username: str, password: str) -> tuple[IceServer, ...]:
    """Return the servers of these URLs, the TURN servers with the credentials.

    Raises:
        BadSetting: a URL is none, or a TURN server comes without credentials.
    """
    servers = tuple(_read(url, username, password) for url in urls)
    if any(server.relays for server in servers) and not (username and password):
        raise BadSetting(
            "ICE_SERVERS names a TURN server, but ICE_USERNAME or ICE_PASSWORD is not set. "
            "Set both to the server's long-term credentials (coturn: user=name:password)."
        )
    return servers


def _read(url: str, username: str, password: str) -> IceServer:
    if "@" in url or ("[" not in url and url.count(":") > 2):  # not quoted: it holds a password
        raise BadSetting("ICE_SERVERS holds credentials. Put them into ICE_USERNAME and ICE_PASSWORD instead.")
    match = _URL.fullmatch(url)
    port = int(match["port"] or 0) if match else 0
    if match is None or port > 0xFFFF:
        raise BadSetting(f"ICE_SERVERS: {url} is no URL of a STUN or TURN server. Write it like {_EXAMPLE}.")
    scheme, by = match["scheme"].lower(), (match["by"] or "").lower()
    tls = scheme.endswith("s")
    if scheme.startswith("stun"):
        if by:
            raise BadSetting(f"ICE_SERVERS: {url}: a STUN URL takes no ?transport (RFC 7064).")
        return IceServer(scheme, match["host"].strip("[]"), port or (5349 if tls else 3478), "tcp" if tls else "udp")
    if tls and by == "udp":
        raise BadSetting(f"ICE_SERVERS: {url}: TURN over DTLS is not spoken here. Leave ?transport=udp out for TLS.")
    transport = by or ("tcp" if tls else "udp")
    return IceServer(scheme, match["host"].strip("[]"), port or (5349 if tls else 3478), transport, username, password)
