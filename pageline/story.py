"""What `pageline calls`, `pageline call ID` and the demo show of calls (`shared.story`)."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageline import sound
from pageline.command import clock
from shared import log, story
from shared.bus import Bus
from shared.calls import facts, sounded
from shared.calls.state import Call, Outcome, Phase
from shared.embedded import EmbeddedValkey
from shared.settings import Settings
from shared.story import Story
from shared.wire import Wire

T = TypeVar("T")

_OUTCOME_STYLE: Final = {Outcome.COMPLETED: "green", Outcome.FAILED: "red", Outcome.LOST: "red", Outcome.EXPIRED: "red"}


def latest(settings: Settings, *, limit: int) -> list[Story]:
    """Return the stories of the calls last heard of, the latest first."""

    async def read(bus: Bus) -> list[Story]:
        ids = await bus.recent_calls(limit=limit)
        logs = await asyncio.gather(*(bus.read_log(call_id) for call_id in ids))
        return [Story(call_id, entries) for call_id, entries in zip(ids, logs, strict=True) if entries]

    return ask(settings, read, only_reads=True)


def of(settings: Settings, call_id: str) -> Story | None:
    """Return the story of one call, or none if nothing is known of it."""
    return ask(settings, lambda bus: story.read(bus, call_id), only_reads=True)


def ask(settings: Settings, question: Callable[[Bus], Awaitable[T]], *, only_reads: bool = False) -> T:
    """Ask the bus something from outside an event loop; without REDIS_URL that of a `pageline up` beside us.

    What `only_reads` is answered however many replicas are away.
    """
    url = settings.redis_url or EmbeddedValkey(Path(settings.data_dir)).find() or settings.required_redis_url

    async def answer() -> T:
        async with Wire.from_url(url, name="pageline-cli", only_reads=only_reads) as wire:
            return await question(
                Bus(wire, retention_hours=settings.retention_hours, log_hours=settings.kept_log_hours)
            )

    return asyncio.run(answer())


def print_list(stories: list[Story]) -> None:
    """Print the calls as a table."""
    console = Console(markup=False)
    if not stories:
        console.print("No calls yet. `pageline demo` makes one.", style="dim")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("started", "call", "", "page", "phase", "outcome"):
        table.add_column(column)
    table.add_column("lasted", justify="right")
    for told in stories:
        call = told.call
        outcome = Text(str(call.outcome or ""), style=_style(call))
        started = clock(told.started_ms)
        way = "out" if call.placed else "in"
        table.add_row(started, told.call_id, way, call.page, str(call.phase), outcome, f"{told.lasted_ms / 1000:.1f} s")
    console.print(table)


def print_one(told: Story, console: Console | None = None) -> None:
    """Print a call's timeline."""
    console = console or Console(markup=False)
    call = told.call
    console.print(Text(told.call_id, style="bold"), Text(str(call.outcome or call.phase), style=_style(call)))
    console.print(f"Page {call.page} · consumer {call.consumer and log.pseudonym(call.consumer)} · {call.direction}")
    if call.meta_id:
        console.print(f"Meta's id {call.meta_id}", style="dim")
    if ended := told.summary()["because"]:
        console.print(f"ended: {ended}", style="dim")
    console.print()
    console.print(timeline_table(told))
    closed = told.first(facts.LegClosed)
    if closed is not None and (closed.packets_received or closed.packets_sent):
        console.print()
        console.print(_pairs(sounded.told(closed)))


def print_why(told: Story) -> None:
    """Print what probably went wrong, and what can be done about it."""
    console = Console(markup=False, highlight=False)
    reasons = told.why()
    if not reasons:
        console.print("Nothing shows that anything went wrong with this call.", style="dim")
    for reason in reasons:
        console.print(reason.sentence)
        if reason.remedy:
            console.print(f"  {reason.remedy}", style="dim")


def print_quality(told: Story) -> None:
    """Print how the call sounded over time."""
    console = Console(markup=False)
    if not told.samples:
        console.print(
            "No samples: the call sounded for less than five seconds, or its log is from before.", style="dim"
        )
        return
    console.print(_pairs(sound.sparklines(told.samples)))
    console.print()
    console.print(sound.samples_table(told.samples, told.started_ms))


def _pairs(rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for what, said in rows:
        table.add_row(what, said)
    return table


def timeline_table(told: Story) -> Table:
    """Return the timeline as a table: time since the start, fact, details."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("after", justify="right")
    table.add_column("fact")
    table.add_column("details", overflow="fold")
    for entry, shown in zip(told.entries, told.timeline(), strict=True):
        details = Text(story.details(entry.fact), style="dim")
        table.add_row(f"{entry.fact.at_ms - told.started_ms} ms", shown["fact"], details)
    return table


def _style(call: Call) -> str:
    if call.outcome is not None:
        return _OUTCOME_STYLE.get(call.outcome, "yellow")
    return "cyan" if call.phase is Phase.LIVE else ""


def replay_lines(told: Story) -> list[dict[str, Any]]:
    """Return the call's webhooks as lines of a replay file, without ids, addresses or keys of anybody."""
    page, consumer = _scrubbed_digits(told.call.page), _scrubbed_digits(told.call.consumer)
    call_id = f"c_{hashlib.blake2b(told.call_id.encode(), digest_size=19).hexdigest()}"
    lines = []
    for entry in told.entries:
        element = _element(entry.fact, page, consumer)
        if element is not None:
            element = {"id": call_id, "timestamp": entry.fact.at_ms // 1000, **element}
            body = {
                "object": "page",
                "entry": [{"id": page, "time": entry.fact.at_ms // 1000, "calls": [element]}],
            }
            lines.append({"at_ms": entry.fact.at_ms, "body": body})
    return lines


def _element(fact: facts.Fact, page: str, consumer: str) -> dict[str, Any] | None:
    match fact:
        case facts.Arrived(direction=direction):
            return {"to": page, "from": consumer, "event": "connect", "call_direction": direction}
        case facts.StatusChanged(status=status):
            return {"event": "call_status", "recipient_id": consumer, "call_status": status}
        case facts.MediaChanged(version=version, sdp=sdp):
            offer = {"sdp_type": "offer", "sdp": _scrubbed_sdp(sdp)}
            return {"event": "media_update", "session": {"version": version, "sdp_renegotiation": offer}}
        case facts.Terminated(status=status):
            times = {"start_time": fact.start_s, "end_time": fact.end_s, "duration": fact.duration_s}
            known = {name: value for name, value in times.items() if value is not None}
            return {"event": "terminate", "status": status.capitalize(), **known}
        case _:
            return None


def _scrubbed_digits(identifier: str) -> str:
    """Return another number of the same length, the same one each time."""
    digest = hashlib.blake2b(identifier.encode(), digest_size=16).digest()
    return str(int.from_bytes(digest)).zfill(40)[-len(identifier) :] if identifier else ""


def _scrubbed_sdp(sdp: str) -> str:
    for pattern, instead in (
        (r"(?m)^(a=ice-ufrag:).*?(\r?)$", r"\1scrubbed\2"),
        (r"(?m)^(a=ice-pwd:).*?(\r?)$", r"\1scrubbedscrubbedscrubbed\2"),
        (r"(?m)^(a=fingerprint:\S+ ).*?(\r?)$", rf"\g<1>{':'.join(['00'] * 32)}\2"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "192.0.2.1"),
        (r"\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,7}\b(?! )(?=\s)", "2001:db8::1"),
        (r"(?m)^(a=msid:|a=ssrc:|a=msid-semantic:).*?(\r?)$", ""),
    ):
        sdp = re.sub(pattern, instead, sdp)
    return re.sub(r"(?:\r?\n){2,}", "\r\n", sdp)
