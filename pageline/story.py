"""The story of a call, folded from its log: what `pageline calls`, `pageline call ID` and the demo show."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageline import sound
from pageline.command import clock
from pageline.desk_words import in_words
from shared import log, quality
from shared.bus import Bus, LogEntry
from shared.calls import facts
from shared.calls.machine import transition
from shared.calls.state import Call, Outcome, Phase
from shared.calls.summary import because
from shared.calls.why import Reason, why
from shared.embedded import EmbeddedValkey
from shared.meta.sdp import digest_of
from shared.outbound import ours_of
from shared.settings import Settings
from shared.wire import Wire

T = TypeVar("T")

_SHOWN_BESIDE: Final = frozenset({"fact", "at_ms", "epoch"})
_OUTCOME_STYLE: Final = {Outcome.COMPLETED: "green", Outcome.FAILED: "red", Outcome.LOST: "red", Outcome.EXPIRED: "red"}


class Story:
    """One call, told from its log."""

    def __init__(self, call_id: str, entries: list[LogEntry], samples: Sequence[quality.Sample] = ()) -> None:
        self.call_id = call_id
        self.entries = entries
        self.samples = samples
        """How it sounded, every few seconds; empty where nobody asked, or nothing sounded for so long."""
        call = Call()
        for entry in entries:
            call, _ = transition(call, entry.fact)
        self.call = call

    def at_ms(self, kind: type[facts.Fact]) -> int | None:
        """Return when the first fact of this kind was logged, Unix milliseconds."""
        return next((entry.fact.at_ms for entry in self.entries if isinstance(entry.fact, kind)), None)

    def first(self, kind: type[T]) -> T | None:
        """Return the first fact of this kind."""
        return next((entry.fact for entry in self.entries if isinstance(entry.fact, kind)), None)

    @property
    def started_ms(self) -> int:
        """Return when the call was first heard of."""
        return self.entries[0].fact.at_ms

    @property
    def lasted_ms(self) -> int:
        """Return how long it took to the last word so far."""
        return self.entries[-1].fact.at_ms - self.started_ms

    def summary(self) -> dict[str, Any]:
        """Return what fits on a line. The consumer is a pseudonym, the same one as in the logs."""
        return {
            "call_id": self.call_id,
            "phase": str(self.call.phase),
            "outcome": self.call.outcome and str(self.call.outcome),
            "because": because(entry.fact for entry in self.entries),
            "page": self.call.page,
            "consumer": self.call.consumer and log.pseudonym(self.call.consumer),
            "direction": self.call.direction,
            "started_ms": self.started_ms,
            "lasted_s": round(self.lasted_ms / 1000, 3),
            "epoch": self.call.epoch,
        }

    def timeline(self) -> list[dict[str, Any]]:
        """Return every fact in order; an SDP is named by its size and digest only."""
        return [_shown(entry.fact) for entry in self.entries]

    def full(self) -> dict[str, Any]:
        """Return everything worth knowing."""
        reasons = [reason._asdict() for reason in self.why()]
        heard = {"why": [reason.sentence for reason in self.why()], "samples": sound.as_dicts(self.samples)}
        return {**self.summary(), "why": reasons, "timeline": self.timeline(), "quality": heard}

    def why(self) -> list[Reason]:
        """Return what probably went wrong, the likeliest first."""
        return why([entry.fact for entry in self.entries])

    def replay_lines(self) -> list[dict[str, Any]]:
        """Return the call's webhooks as lines of a replay file, without ids, addresses or keys of anybody."""
        page, consumer = _scrubbed_digits(self.call.page), _scrubbed_digits(self.call.consumer)
        call_id = f"c_{hashlib.blake2b(self.call_id.encode(), digest_size=19).hexdigest()}"
        lines = []
        for entry in self.entries:
            element = _element(entry.fact, page, consumer)
            if element is not None:
                element = {"id": call_id, "timestamp": entry.fact.at_ms // 1000, **element}
                body = {
                    "object": "page",
                    "entry": [{"id": page, "time": entry.fact.at_ms // 1000, "calls": [element]}],
                }
                lines.append({"at_ms": entry.fact.at_ms, "body": body})
        return lines


def latest(settings: Settings, *, limit: int) -> list[Story]:
    """Return the stories of the calls last heard of, the latest first."""

    async def read(bus: Bus) -> list[Story]:
        ids = await bus.recent_calls(limit=limit)
        logs = await asyncio.gather(*(bus.read_log(call_id) for call_id in ids))
        return [Story(call_id, entries) for call_id, entries in zip(ids, logs, strict=True) if entries]

    return ask(settings, read)


def of(settings: Settings, call_id: str) -> Story | None:
    """Return the story of one call, or none if nothing is known of it."""

    async def read(bus: Bus) -> Story | None:
        kept_as = await ours_of(bus, call_id)
        entries, samples = await asyncio.gather(bus.read_log(kept_as), quality.read(bus.wire, kept_as))
        return Story(kept_as, entries, samples) if entries else None

    return ask(settings, read)


def ask(settings: Settings, question: Callable[[Bus], Awaitable[T]]) -> T:
    """Ask the bus something from outside an event loop; without REDIS_URL that of a `pageline up` beside us."""
    url = settings.redis_url or EmbeddedValkey(Path(settings.data_dir)).find() or settings.required_redis_url

    async def answer() -> T:
        async with Wire.from_url(url, name="pageline-cli") as wire:
            return await question(Bus(wire, retention_hours=settings.retention_hours))

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
    for story in stories:
        call = story.call
        outcome = Text(str(call.outcome or ""), style=_style(call))
        started = clock(story.started_ms)
        way = "out" if call.placed else "in"
        table.add_row(
            started, story.call_id, way, call.page, str(call.phase), outcome, f"{story.lasted_ms / 1000:.1f} s"
        )
    console.print(table)


def print_one(story: Story, console: Console | None = None) -> None:
    """Print a call's timeline."""
    console = console or Console(markup=False)
    call = story.call
    console.print(Text(story.call_id, style="bold"), Text(str(call.outcome or call.phase), style=_style(call)))
    console.print(f"Page {call.page} · consumer {call.consumer and log.pseudonym(call.consumer)} · {call.direction}")
    if call.meta_id:
        console.print(f"Meta's id {call.meta_id}", style="dim")
    if ended := story.summary()["because"]:
        console.print(f"ended: {ended}", style="dim")
    console.print()
    console.print(timeline_table(story))
    closed = story.first(facts.LegClosed)
    if closed is not None and (closed.packets_received or closed.packets_sent):
        console.print()
        console.print(_pairs(sound.told(closed)))


def print_why(story: Story) -> None:
    """Print what probably went wrong, and what can be done about it."""
    console = Console(markup=False, highlight=False)
    reasons = story.why()
    if not reasons:
        console.print("Nothing shows that anything went wrong with this call.", style="dim")
    for reason in reasons:
        console.print(reason.sentence)
        if reason.remedy:
            console.print(f"  {reason.remedy}", style="dim")


def print_quality(story: Story) -> None:
    """Print how the call sounded over time."""
    console = Console(markup=False)
    if not story.samples:
        console.print(
            "No samples: the call sounded for less than five seconds, or its log is from before.", style="dim"
        )
        return
    console.print(_pairs(sound.sparklines(story.samples)))
    console.print()
    console.print(sound.samples_table(story.samples, story.started_ms))


def _pairs(rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for what, said in rows:
        table.add_row(what, said)
    return table


def timeline_table(story: Story) -> Table:
    """Return the timeline as a table: time since the start, fact, details."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("after", justify="right")
    table.add_column("fact")
    table.add_column("details", overflow="fold")
    for entry, shown in zip(story.entries, story.timeline(), strict=True):
        details = in_words(entry.fact) or "  ".join(
            f"{name}={value}" for name, value in shown.items() if name not in _SHOWN_BESIDE
        )
        table.add_row(f"{entry.fact.at_ms - story.started_ms} ms", shown["fact"], Text(details, style="dim"))
    return table


def _shown(fact: facts.Fact) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(fact)
    shown = {"at_ms": fact.at_ms, **{name: value for name, value in shown.items() if name != "at_ms"}}
    for name in ("sdp", "renegotiation"):
        if shown.get(name):
            shown[name] = f"{len(shown[name])} bytes, {digest_of(shown[name])}"
    for name, value in shown.items():
        if isinstance(value, float):
            shown[name] = round(value, 2)
    if "body" in shown:  # it may name anybody
        shown["body"] = f"{len(shown['body'])} bytes"
    if "consumer" in shown:
        shown["consumer"] = log.pseudonym(shown["consumer"])
    return shown


def _style(call: Call) -> str:
    if call.outcome is not None:
        return _OUTCOME_STYLE.get(call.outcome, "yellow")
    return "cyan" if call.phase is Phase.LIVE else ""


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
