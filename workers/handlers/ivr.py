"""A menu without code: what callers meet is in a TOML file, which `IVR_FILE` names and which is read at the start."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from pageline import Call
from workers.handlers import environment
from workers.handlers.guide import guide
from workers.handlers.plan import Plan
from workers.handlers.plan_file import read_plan


@lru_cache
def _plan(file: str) -> Plan:
    if not file:
        raise ValueError("IVR_FILE is not set: write the path of a TOML file with menus (docs/handlers.md shows one)")
    return read_plan(Path(file))


def check_options(options: Mapping[str, str]) -> None:
    """Read the menus that a Page has of its own, `ivr_file`.

    Raises:
        ValueError: they cannot be used; the message names file and line.
    """
    _plan(options.get("ivr_file") or FILE)


FILE: Final = environment.text("IVR_FILE")


async def answer(call: Call) -> None:
    """Lead the caller through the menus of `IVR_FILE`, or of the option `ivr_file`."""
    await guide(call, _plan(call.options.get("ivr_file") or FILE), datetime.now(UTC))
