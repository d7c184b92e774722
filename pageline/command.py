"""What all commands share: the exit statuses, `--json`, and how they speak."""

import datetime as dt
import json
import sys
from typing import Annotated, Any, Final, NoReturn

import typer

FAILED: Final = 1
BAD_USAGE: Final = 2

Json = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON value on stdout; all chatter goes to stderr.")
]


def print_json(value: Any) -> None:
    """Print the one JSON value."""
    print(json.dumps(value, indent=2))  # noqa: T201 it is what was asked for


def clock(unix_ms: int) -> str:
    """Return a time as people here read it."""
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def die(message: str, status: int) -> NoReturn:
    """Say why and end."""
    print(f"pageline: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
