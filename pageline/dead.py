"""Dead letters for whoever runs the line: list, show, retry, drop (docs/decisions/0004-dead-letters.md)."""

import base64
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pageline.command import clock
from pageline.story import ask
from shared import retrial
from shared.bus import Bus
from shared.dead import Letter
from shared.settings import Settings

ID: Final = re.compile(r"\d{1,15}-\d{1,9}")


class Selection(NamedTuple):
    """Which letters: these, or all, or all of one reason."""

    ids: Sequence[str] = ()
    why: str = ""


class Done(NamedTuple):
    """What became of one letter."""

    id: str
    done: bool
    message: str


def kept(settings: Settings, *, why: str = "") -> list[Letter]:
    """Return the letters, the newest first, without their bodies."""

    async def read(bus: Bus) -> list[Letter]:
        letters = bus.dead_letters.all()
        return [replace(letter, body=b"") async for letter in letters if why in ("", letter.why)][::-1]

    return ask(settings, read, only_reads=True)


def of(settings: Settings, letter_id: str) -> Letter | None:
    """Return one letter, or none if there is no such letter (any more)."""
    return ask(settings, lambda bus: bus.dead_letters.find(letter_id), only_reads=True)


def retry(settings: Settings, selection: Selection) -> list[Done]:
    """Try again what the letters are about; each leaves by its outcome, and stays if it fails once more."""

    window_ms = int(settings.accept_deadline_seconds * 1000)

    async def one(bus: Bus, letter: Letter) -> str:
        return await retrial.retry(bus, letter, answer_window_ms=window_ms)

    return ask(settings, lambda bus: _each(bus, selection, one))


def drop(settings: Settings, selection: Selection) -> list[Done]:
    """Forget letters."""

    async def one(bus: Bus, letter: Letter) -> str:
        return await retrial.drop(bus, letter)

    return ask(settings, lambda bus: _each(bus, selection, one))


async def _each(bus: Bus, selection: Selection, one: Callable[[Bus, Letter], Awaitable[str]]) -> list[Done]:
    done = []
    for letter_id in selection.ids or [each.id async for each in bus.dead_letters.all()]:
        letter = await bus.dead_letters.find(letter_id)
        if letter is None:
            done.append(Done(letter_id, False, unknown(letter_id)))
        elif selection.why in ("", letter.why):
            try:
                done.append(Done(letter_id, True, await one(bus, letter)))
            except retrial.NotRetriable as error:
                done.append(Done(letter_id, False, str(error)))
    return done


def unknown(letter_id: str) -> str:
    """Return what to say of an id that no letter has."""
    return f"There is no dead letter {letter_id} (any more). `pageline dead list` lists them."


def full(letter: Letter) -> dict[str, Any]:
    """Return everything, the body as text if it is some, and in base64 otherwise."""
    told = retrial.summary(letter) | {
        "epoch": letter.epoch or None,
        "deadline_ms": letter.deadline_ms or None,
        "attempts": [msgspec.to_builtins(trial) for trial in letter.attempts],
        "body": None,
    }
    if letter.body:
        try:
            told["body"] = letter.body.decode()
        except UnicodeDecodeError:
            told["body_base64"] = base64.b64encode(letter.body).decode()
    return told


def print_list(letters: list[Letter]) -> None:
    """Print the letters as a table."""
    console = Console(markup=False)
    if not letters:
        console.print("No dead letters.", style="dim")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("id", "buried", "why", "call", "action"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    table.add_column("tries", justify="right")
    table.add_column("detail", overflow="fold")
    for letter in letters:
        tries = str(len(letter.attempts) or "")
        detail = Text(letter.detail, style="dim")
        table.add_row(letter.id, clock(letter.buried_ms), letter.why, letter.call_id, letter.action, tries, detail)
    console.print(table)


def print_one(letter: Letter) -> None:
    """Print a letter with every attempt."""
    console = Console(markup=False)
    console.print(Text(letter.id, style="bold"), Text(letter.why, style="red"), clock(letter.buried_ms))
    if letter.action:
        until = f" · useful until {clock(letter.deadline_ms)}" if letter.deadline_ms else ""
        console.print(f"{letter.action} · call {letter.call_id} · Page {letter.page} · epoch {letter.epoch}{until}")
    console.print(Text(letter.detail))
    if letter.attempts:
        console.print()
        console.print(_trials(letter))
    if letter.body:
        console.print()
        console.print(Text(letter.body.decode(errors="replace")))


def _trials(letter: Letter) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("at", "verdict", "status", "code", "subcode", "fbtrace_id", "took", "trouble"):
        table.add_column(column, overflow="fold")
    for trial in letter.attempts:
        said = (trial.status, trial.code, trial.subcode, trial.fbtrace_id)
        told = ("" if each is None else str(each) for each in said)
        table.add_row(clock(trial.at_ms), trial.verdict, *told, f"{trial.took_ms} ms", Text(trial.trouble))
    return table


def print_done(done: list[Done]) -> None:
    """Print what became of each letter."""
    console = Console(markup=False)
    for each in done:
        console.print(Text(each.id, style="bold"), Text(each.message, style="" if each.done else "red"))
    if not done:
        console.print("No dead letters.", style="dim")
