"""Where a Redis server is and who we are there."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import BadSetting


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis server is and who we are there, read from a `redis://`, `rediss://` or `unix://` URL."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    database: int = 0
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @classmethod
    def from_url(cls, url: str) -> "Address":
        """Read the address from a URL as redis-py understands it.

        Raises:
            BadSetting: the URL is none.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query))
            path = unquote(parts.path)
            username = unquote(parts.username or "") or options.get("username", "")
            password = unquote(parts.password or "") or options.get("password", "")
            if parts.scheme == "unix":
                if not path:
                    raise ValueError("it names no socket")
                return cls("", 0, path, int(options.get("db", "0")), username, password)
            if parts.scheme not in ("redis", "rediss"):
                raise ValueError("it begins with none of redis://, rediss:// and unix://")
            return cls(
                parts.hostname or "localhost",
                parts.port or 6379,
                "",
                int(options.get("db") or path.strip("/") or "0"),
                username,
                password,
                _tls(options) if parts.scheme == "rediss" else None,
            )
        except ValueError as error:
            # The URL itself is not quoted: it may hold a password.
            raise BadSetting(f"REDIS_URL cannot be used: {error}. Example: redis://localhost:6379/0") from error

    def __str__(self) -> str:
        """Return the address without its secrets."""
        return self.path or f"{self.host}:{self.port}"


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    """Return a TLS context for the `ssl_…` options of a URL; certificates are checked unless it says otherwise."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_cert_reqs", "required").lower() in ("none", "cert_none"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
        context.check_hostname = False
    return context
