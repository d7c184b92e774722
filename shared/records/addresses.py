"""Where `RECORDS_SINKS` says that records go; read, and named so that a name shows no secret."""

from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from shared.errors import BadSetting

FORMS: Final = "file:///path/records.jsonl, https://…, postgresql://… or sqlite:///path/records.db"
FILES: Final = frozenset({"file"})
WEBHOOKS: Final = frozenset({"https", "http"})
DATABASES: Final = frozenset({"postgresql", "sqlite"})


class Address(NamedTuple):
    """One sink's URL."""

    url: str
    scheme: str
    name: str
    """The URL without user, password and query: what logs, metrics and dead letters call the sink."""

    @property
    def path(self) -> Path:
        """Return the path of a file."""
        return Path(urlsplit(self.url).path)


def read_addresses(urls: tuple[str, ...]) -> tuple[Address, ...]:
    """Read the URLs of sinks.

    Raises:
        BadSetting: one cannot be used, or two have the same name.
    """
    addresses = tuple(map(_address, urls))
    names = [address.name for address in addresses]
    for name in names:
        if names.count(name) > 1:
            raise BadSetting(f"RECORDS_SINKS names {name} twice; sinks differ in more than user, password and query.")
    return addresses


def _address(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadSetting(f"RECORDS_SINKS holds what is no URL. Write {FORMS}.") from None
    host = parts.hostname or ""
    name = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}{parts.path}"
    if parts.scheme not in FILES | WEBHOOKS | DATABASES:
        raise BadSetting(f"RECORDS_SINKS: records cannot be kept at {name}. Write {FORMS}.")
    if parts.scheme in {"file", "sqlite"} and (host or len(parts.path) < 2):
        raise BadSetting(f"RECORDS_SINKS: {name} names no file. Write {parts.scheme}:///path, with three slashes.")
    if parts.scheme in {"https", "http", "postgresql"} and not host:
        raise BadSetting(f"RECORDS_SINKS: {name} names no host.")
    if parts.scheme == "http" and not _is_loopback(parts):
        raise BadSetting(f"RECORDS_SINKS: {name} would send records in the clear. Write https://.")
    return Address(url, parts.scheme, name)


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
