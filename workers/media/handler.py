"""Finds the user's handler, `module:function`; the working directory comes last on the import path, never first."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from shared.errors import HandlerUnusable
from shared.handling import NO_OPTIONS, Handler
from shared.playable import check_sound
from shared.recording import RECORD_CONSENT

OURS: Final = ("ingress", "pageline", "shared", "simulator", "workers")


class Script(NamedTuple):
    """What to run for a call."""

    name: str
    """`module:function`."""
    handler: Handler
    on_lost: Handler | None
    options: Mapping[str, str] = NO_OPTIONS
    """What it is told beside the call."""


def load(name: str, *, folder: Path | None = None) -> Script:
    """Import the handler named `module:function`.

    Raises:
        HandlerUnusable: it cannot be imported, is shadowed, or is no coroutine function; the message says what to do.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise HandlerUnusable(f"CALL_HANDLER={name} is not of the form module:function, such as reception:answer.")
    folder = (folder or Path.cwd()).resolve()
    _refuse_shadows(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise HandlerUnusable(
                f"CALL_HANDLER={name}: there is no module {module_name} in {folder} or among the installed packages."
            ) from error
        raise HandlerUnusable(f"CALL_HANDLER={name}: importing {module_name} failed: {error}.") from error
    except Exception as error:
        raise HandlerUnusable(
            f"CALL_HANDLER={name}: importing {module_name} failed: {type(error).__name__}: {error}."
        ) from error
    handler = getattr(module, function_name, None)
    if handler is None:
        raise HandlerUnusable(f"CALL_HANDLER={name}: {module.__file__} has no function {function_name}.")
    if not inspect.iscoroutinefunction(handler):
        raise HandlerUnusable(f"CALL_HANDLER={name}: {function_name} is not a coroutine function; write `async def`.")
    on_lost = getattr(module, "on_lost", None)
    if on_lost is not None and not inspect.iscoroutinefunction(on_lost):
        raise HandlerUnusable(f"CALL_HANDLER={name}: on_lost is not a coroutine function; write `async def on_lost`.")
    return Script(name, handler, on_lost)


def check(script: Script, options: Mapping[str, str]) -> None:
    """Let the handler's module look at options that PAGES_FILE has for it, with its `check_options` where it has one.

    Raises:
        HandlerUnusable: they cannot be used; the message says why.
    """
    if consent := options.get(RECORD_CONSENT):
        try:
            check_sound(consent)
        except ValueError as error:
            raise HandlerUnusable(f"record_consent in PAGES_FILE: {error}") from error
    look = getattr(sys.modules[script.handler.__module__], "check_options", None)
    if look is None:
        return
    try:
        look({name: value for name, value in options.items() if name != RECORD_CONSENT})
    except ValueError as error:
        raise HandlerUnusable(f"{script.name} cannot be used: {error}") from error


def _refuse_shadows(folder: Path) -> None:
    for name in OURS:
        ours = importlib.import_module(name).__path__
        for theirs in (folder / name, folder / f"{name}.py"):
            if theirs.exists() and str(theirs) not in {str(Path(path).resolve()) for path in ours}:
                raise HandlerUnusable(
                    f"{theirs} has the name of one of pageline's own packages and would not be found. Rename it."
                )
