"""What every sink can do."""

from typing import NamedTuple, Protocol

from shared.calls.record import Record
from shared.errors import PagelineError


class SinkFailed(PagelineError):
    """A sink did not take a record, or could not remove one; the text says why, and holds neither secrets nor PSIDs."""


class Removed(NamedTuple):
    """What a sink held of a consumer, and holds no more."""

    records: int
    recordings: tuple[str, ...]
    """Paths and URLs that these records named."""
    calls: tuple[str, ...] = ()
    """The ids of the calls that they told of."""


class Sink(Protocol):
    """A place that records are delivered to, at least once each; a second delivery of one call changes nothing there,
    or is told by its call id.
    """

    name: str

    async def take(self, record: Record) -> None:
        """Keep a record.

        Raises:
            SinkFailed: it did not, or nobody knows.
        """

    async def remove(self, consumers: frozenset[str]) -> Removed | None:
        """Remove the records of consumers, by their pseudonyms; none where that is out of our hands.

        Raises:
            SinkFailed: it could not.
        """

    async def close(self) -> None:
        """Let go of files and connections."""
