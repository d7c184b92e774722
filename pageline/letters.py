"""The commands `pageline dead list|show|retry|drop`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pageline.command import BAD_USAGE, FAILED, Json, die, print_json
from shared import settings

if TYPE_CHECKING:
    from pageline.dead import Done, Selection

letters = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be read or done.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="As `dead list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Why = Annotated[str, typer.Option(help="Only those of this reason.")]


@letters.command("list")
def list_letters(*, why: Why = "", as_json: Json = False) -> None:
    """List dead letters, the newest first."""
    from pageline import dead
    from shared import retrial

    kept = dead.kept(settings.load(), why=why)
    if as_json:
        print_json([retrial.summary(letter) for letter in kept])
    else:
        dead.print_list(kept)


@letters.command("show")
def show_letter(letter_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> None:
    """Show one with every attempt and what it holds; a webhook's body may name people."""
    from pageline import dead

    configured, selected = settings.load(), _selected([letter_id], everything=False, why="")
    letter = dead.of(configured, selected.ids[0])
    if letter is None:
        die(dead.unknown(letter_id), FAILED)
    if as_json:
        print_json(dead.full(letter))
    else:
        dead.print_one(letter)


@letters.command("retry")
def retry_letters(ids: Ids = None, *, everything: All = False, why: Why = "", as_json: Json = False) -> None:
    """Try again: a farewell, a webhook to be passed on or read. A letter goes when that has succeeded."""
    from pageline import dead

    _report(dead.retry(settings.load(), _selected(ids, everything=everything, why=why)), as_json)


@letters.command("drop")
def drop_letters(ids: Ids = None, *, everything: All = False, why: Why = "", as_json: Json = False) -> None:
    """Forget them for good."""
    from pageline import dead

    _report(dead.drop(settings.load(), _selected(ids, everything=everything, why=why)), as_json)


def _selected(ids: list[str] | None, *, everything: bool, why: str) -> "Selection":
    from pageline import dead

    if bool(ids) == (everything or bool(why)):
        die(
            "Name dead letters by their IDs, or say --all, or --why REASON. `pageline dead list` shows both.", BAD_USAGE
        )
    odd = [letter_id for letter_id in ids or () if not dead.ID.fullmatch(letter_id)]
    if odd:
        die(f"{odd[0]} is no dead letter's ID: those look like 1700000000000-0. `pageline dead list`.", BAD_USAGE)
    return dead.Selection(tuple(ids or ()), why)


def _report(done: "list[Done]", as_json: bool) -> None:
    from pageline import dead

    if as_json:
        print_json([each._asdict() for each in done])
    else:
        dead.print_done(done)
    if not all(each.done for each in done):
        sys.exit(FAILED)
