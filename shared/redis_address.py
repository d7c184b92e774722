"""Where a Redis server is and who we are there."""

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from shared.errors import BadSetting

_OTHER_NAME: Final = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


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
        except (ValueError, OSError) as error:  # a certificate file that is none, too
            # The URL itself is not quoted: it may hold a password.
            raise BadSetting(f"REDIS_URL cannot be used: {error}. Example: redis://localhost:6379/0") from error

    def remedy_for(self, cause: BaseException | None) -> str:
        """Return what to do about a connection that could not be made."""
        match cause:
            case ssl.SSLCertVerificationError(verify_code=code) if code in _OTHER_NAME:
                return (
                    "Its certificate is for another name. Connect by that name; or, where the provider's are like "
                    "that, prove the CA alone: REDIS_CA_FILE, and ?ssl_check_hostname=false behind REDIS_URL."
                )
            case ssl.SSLCertVerificationError():
                return (
                    "Set REDIS_CA_FILE to the CA certificate of its provider. (?ssl_cert_reqs=none behind REDIS_URL "
                    "encrypts without proof of who is there.)"
                )
            case TimeoutError() if self.tls is not None:
                return "Does it run, does it speak TLS on that port, and is REDIS_URL right?"
            case _:
                return "Does it run, and is REDIS_URL right?"

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


def trusting(url: str, ca_file: str) -> str:
    """Return a `rediss://` URL by which redis-py and we trust what this CA has signed, beside whatever it says itself.

    Raises:
        BadSetting: the file holds no certificate, or the URL asks for no TLS.
    """
    if not url or not ca_file:
        return url
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        raise BadSetting(
            "REDIS_CA_FILE is set, but REDIS_URL does not begin with rediss://, so that nothing would be encrypted. "
            "Write rediss:// and the port where the server speaks TLS, or unset REDIS_CA_FILE."
        )
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise BadSetting(
            f"REDIS_CA_FILE={ca_file} cannot be used: {error}. It is the CA certificate of the server's provider, "
            "a PEM file."
        ) from error
    if "ssl_ca_certs" in dict(parse_qsl(parts.query)):
        return url
    given = urlencode({"ssl_ca_certs": ca_file})
    return parts._replace(query=f"{parts.query}&{given}" if parts.query else given).geturl()
