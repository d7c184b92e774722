"""The command `pageline keys new`."""

from typing import Annotated

import typer

from pageline.command import BAD_USAGE, Json, die, print_json
from shared import api_keys
from shared.api_keys import Scope

keys = typer.Typer(no_args_is_help=True, help="Keys for /v1 and the console.")

_WORDS = ", ".join(scope.word for scope in Scope)


@keys.callback()
def about() -> None:
    """Keys for /v1 and the console (PAGELINE_API_KEYS)."""


@keys.command("new")
def new_key(
    *,
    scope: Annotated[str, typer.Option(help=f"What it opens: {_WORDS}; each opens what those before it do.")] = "admin",
    as_json: Json = False,
) -> None:
    """Make a key: shown this once, with the entry for PAGELINE_API_KEYS, which does not hold it."""
    scopes = {each.word: each for each in Scope}
    if scope not in scopes:
        die(f"--scope {scope}: there are {_WORDS}.", BAD_USAGE)
    secret = api_keys.new()
    entry = api_keys.entry_of(secret, scopes[scope])
    if as_json:
        print_json({"key": secret, "scope": scope, "entry": entry})
    else:
        print(f"key    {secret}\nentry  {entry}")  # noqa: T201 it is what was asked for
