"""What `pageline forget` does: one consumer is removed everywhere, and then looked for (docs/privacy.md)."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from pageline.recordings import Cleared, Recordings
from pageline.story import ask
from shared.bus import Bus
from shared.errors import PagelineError
from shared.forgetting import Forgetting
from shared.pseudonyms import pseudonym
from shared.records.opening import open_sinks
from shared.records.sink import Sink, SinkFailed
from shared.settings import Settings


class StillOpen(PagelineError):
    """A call of the consumer's is not over; the message says how to end it."""


class Report(NamedTuple):
    """What was removed, and what was not."""

    consumer: str
    """The pseudonym."""
    calls: int
    letters: int
    messages: int
    others: int
    recordings: tuple[str, ...]
    records: dict[str, int | None]
    """By sink; none where what was told is out of our hands."""
    failed: tuple[str, ...]
    left: tuple[str, ...]
    """Keys in Redis that still hold the id."""

    @property
    def done(self) -> bool:
        """Whether nothing is left anywhere that we can look into."""
        return not self.failed and not self.left


def forget(settings: Settings, psid: str) -> Report:
    """Remove a consumer.

    Raises:
        StillOpen: a call is not over; nothing was removed.
    """
    sinks = open_sinks(settings.record_addresses, secret=settings.records_webhook_secret)
    return ask(settings, lambda bus: _forget(bus, settings, sinks, psid))


async def _forget(bus: Bus, settings: Settings, sinks: Sequence[Sink], psid: str) -> Report:
    name = pseudonym(psid)
    forgetting = Forgetting(bus, psid)
    theirs = await forgetting.theirs()
    if theirs.open:
        ends = " and ".join(f"`pageline hangup {call}`" for call in theirs.open)
        raise StillOpen(f"Nothing was removed: this consumer has a call that is not over. Say {ends} first.")
    of_redis = await forgetting.remove(theirs.ended, pseudonym=name)
    records: dict[str, int | None] = {}
    calls, named, failed = list(theirs.ended), list(theirs.recordings), []
    for sink in sinks:
        try:
            removed = await sink.remove(frozenset({name}))
        except SinkFailed as error:
            failed.append(f"{sink.name} could not be asked: {error}.")
        else:
            records[sink.name] = None if removed is None else removed.records
            calls += removed.calls if removed else ()
            named += removed.recordings if removed else ()
        await sink.close()
    cleared: Cleared = await asyncio.to_thread(
        Recordings(settings.recordings, psid).remove, dict.fromkeys(calls), dict.fromkeys(named)
    )
    left = await forgetting.holding()
    return Report(name, *of_redis, cleared.removed, records, (*failed, *cleared.failed), tuple(left))


def print_report(report: Report) -> None:
    """Print what was removed and what was not."""
    console = Console(markup=False, highlight=False)
    console.print(f"consumer {report.consumer}")
    for what in ("calls", "letters", "messages", "others"):
        console.print(f"  {what:12} {getattr(report, what)}")
    for path in report.recordings:
        console.print(f"  recording    {path}")
    for sink, count in report.records.items():
        said = "was told, and cannot be made to forget: ask whoever runs it" if count is None else f"{count} records"
        console.print(f"  {sink}: {said}")
    for sentence in report.failed:
        console.print(sentence, style="red")
    for key in report.left:
        console.print(f"still holds the id: {key}", style="red")
    if report.done:
        console.print("Nothing is left: no key in Redis holds the id.")
