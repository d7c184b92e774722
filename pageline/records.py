"""The commands `pageline records export|show`."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pageline.command import BAD_USAGE, FAILED, Json, die, print_json
from shared import settings

records = typer.Typer(no_args_is_help=True, help="Call records, folded from the logs that are kept.")


class Format(StrEnum):
    """What is written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


Id = Annotated[str, typer.Argument(metavar="ID", help="The call's id, Meta's or ours.")]
From = Annotated[
    str, typer.Option("--from", metavar="DATE", help="Calls from then on: 2026-11-05, or with a time, UTC.")
]
To = Annotated[str, typer.Option("--to", metavar="DATE", help="Calls before that; without, all up to now.")]
File = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; without, stdout.")]


@records.command()
def export(
    *,
    from_: From,
    to: To = "",
    page: Annotated[str, typer.Option(metavar="ID", help="Calls of this Page only.")] = "",
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSONL,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Write the records of calls that have ended; logs are kept for RETENTION_HOURS, and so is what this finds."""
    from pageline import exporting

    if file is None and (as_json or format_ is Format.PARQUET):
        die("Say where to with -o FILE: stdout is for the report, or for text.", BAD_USAGE)
    if file is not None and not file.absolute().parent.is_dir():
        die(f"There is no folder {file.absolute().parent}.", BAD_USAGE)
    wanted = exporting.Wanted(_ms("--from", from_), _ms("--to", to) if to else None, page)
    count = exporting.export(settings.load(), wanted, format_, file, quiet=as_json)
    if as_json:
        print_json({"records": count, "format": str(format_), "file": str(file)})
    elif file is not None:
        print(f"{count} records in {file}")  # noqa: T201 it is what was done


@records.command()
def show(call_id: Id, *, as_json: Json = False) -> None:
    """Show the record of one call that has ended."""
    import msgspec

    from pageline import exporting

    record = exporting.one(settings.load(), call_id)
    if record is None:
        die(
            f"There is no record of call {call_id}: it goes on, or its log is gone; logs are kept for RETENTION_HOURS. "
            "`pageline calls` lists them.",
            FAILED,
        )
    if as_json:
        print_json(msgspec.to_builtins(record))
    else:
        exporting.print_one(record)


def _ms(option: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        die(f"{option} {text} is no date. Write it like 2026-11-05 or 2026-11-05T17:30, in UTC.", BAD_USAGE)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
