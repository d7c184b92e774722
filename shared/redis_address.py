"""Where a Redis server is, or who knows it, and who we are there."""

import ssl
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from shared.errors import BadSetting

_OTHER_NAME: Final = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

SENTINEL_PORT: Final = 26379
NO: Final = ("false", "0", "no")
WAIT_REPLICAS: Final = "wait_replicas"
"""The option of a URL that REDIS_WAIT_REPLICAS sets."""


class Host(NamedTuple):
    """A server by name or number."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who knows which server is the primary now."""

    hosts: tuple[Host, ...]
    primary: str
    """The name by which Sentinel knows the primary and its replicas."""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis server is and who we are there, read from a URL.

    `redis://`, `rediss://` and `unix://` lead to a server; `redis+sentinel://` and `rediss+sentinel://` to Sentinels,
    which know where the primary is: `redis+sentinel://user:password@host:26379,host:26379/name-of-primary/0`.
    """

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    database: int = 0
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    sentinels: Sentinels | None = None
    replicas: int = 0
    """How many replicas have to hold what we write before it counts as written."""

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
            replicas = int(options.get(WAIT_REPLICAS, "0"))
            if parts.scheme == "unix":
                if not path:
                    raise ValueError("it names no socket")
                database = int(options.get("db", "0"))
                return cls("", 0, path, database, username, password, replicas=replicas)
            scheme, plus, kind = parts.scheme.partition("+")
            if scheme not in ("redis", "rediss") or (plus and kind != "sentinel"):
                raise ValueError("it begins with none of redis://, rediss://, unix:// and redis+sentinel://")
            tls = _tls(options) if scheme == "rediss" else None
            if plus:
                hosts = tuple(_host(each) for each in parts.netloc.rpartition("@")[2].split(","))
                name, _, number = path.strip("/").partition("/")
                if not name:
                    raise ValueError("it does not say by which name Sentinel knows the primary")
                known = options.get("sentinel_username", ""), options.get("sentinel_password", "")
                sentinels = Sentinels(hosts, name, *known)
                database = int(options.get("db") or number or "0")
                return cls("", 0, "", database, username, password, tls, sentinels, replicas)
            database = int(options.get("db") or path.strip("/") or "0")
            host, port = parts.hostname or "localhost", parts.port or 6379
            return cls(host, port, "", database, username, password, tls, replicas=replicas)
        except (ValueError, OSError) as error:  # a certificate file that is none, too
            # The URL itself is not quoted: it may hold a password.
            raise BadSetting(
                f"REDIS_URL cannot be used: {error}. Examples: redis://localhost:6379/0, "
                "redis+sentinel://one:26379,two:26379,three:26379/mymaster"
            ) from error

    @property
    def credentials(self) -> tuple[tuple[str, ...], ...]:
        """Return the commands that tell who we are: one, or none where nobody asks."""
        if not self.password:
            return ()
        return (("AUTH", self.username, self.password) if self.username else ("AUTH", self.password),)

    def at(self, host: Host) -> "Address":
        """Return the same one of us at a server that a Sentinel named."""
        return replace(self, host=host.name, port=host.port)

    def of_sentinel(self, host: Host) -> "Address":
        """Return who we are at one of the Sentinels."""
        if self.sentinels is None:
            raise ValueError(f"{self} is reached without Sentinel")
        known = self.sentinels.username, self.sentinels.password
        return Address(host.name, host.port, "", 0, *known, self.tls)

    def remedy_for(self, cause: BaseException | None) -> str:
        """Return what to do about a connection that could not be made."""
        if cause is not None and isinstance(cause.__cause__, ssl.SSLError):  # of a Sentinel
            cause = cause.__cause__
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
            case _ if self.sentinels:
                return "A fail-over takes seconds. If it lasts: do most Sentinels run, and is REDIS_URL right?"
            case _:
                return "Does it run, and is REDIS_URL right?"

    def __str__(self) -> str:
        """Return the address without its secrets."""
        if self.sentinels and not self.host:
            return f"{self.sentinels.primary}, by Sentinel,"
        return self.path or f"{self.host}:{self.port}"


def _host(text: str) -> Host:
    """Read one of the Sentinels: a name or number, with a port or without."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("it names no Sentinel, or a comma too many")
    return Host(parts.hostname, parts.port or SENTINEL_PORT)


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    """Return a TLS context for the `ssl_…` options of a URL; certificates are checked unless it says otherwise."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_cert_reqs", "required").lower() in ("none", "cert_none"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.get("ssl_check_hostname", "true").lower() in NO:
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
    if parts.scheme not in ("rediss", "rediss+sentinel"):
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
    return _with(url, "ssl_ca_certs", ca_file)


def confirmed_by(url: str, replicas: int) -> str:
    """Return a URL by which a `Wire` takes for written what so many replicas hold, beside whatever it says itself."""
    return _with(url, WAIT_REPLICAS, str(replicas)) if url and replicas else url


def _with(url: str, option: str, value: str) -> str:
    rest, _, query = url.partition("?")  # urlsplit would write unix:///path back as unix:/path
    if option in dict(parse_qsl(query)):
        return url
    given = urlencode({option: value})
    return f"{rest}?{query}&{given}" if query else f"{rest}?{given}"
