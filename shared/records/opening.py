"""Makes the sinks that `RECORDS_SINKS` names; a database's libraries are imported only where one is."""

from collections.abc import Iterable

from shared.errors import BadSetting
from shared.records.addresses import DATABASES, FILES, Address
from shared.records.lines import Lines
from shared.records.sink import Sink


def open_sinks(addresses: Iterable[Address], *, secret: str) -> tuple[Sink, ...]:
    """Return the sinks; nothing is connected to yet. `secret` signs webhooks.

    Raises:
        BadSetting: a library is missing; the message names the extra that brings it.
    """
    return tuple(_open(address, secret) for address in addresses)


def _open(address: Address, secret: str) -> Sink:
    if address.scheme in FILES:
        return Lines(address.name, address.path)
    if address.scheme in DATABASES:
        try:
            from shared.records.database import Database
        except ImportError as error:
            raise BadSetting(
                f"RECORDS_SINKS names {address.name}, and {error.name} is not installed: pip install 'pageline[sql]'."
            ) from error
        return Database(address.name, address.url)
    from shared.records.webhook import Hook

    return Hook(address.name, address.url, secret)
