"""A menu without code: what callers meet is in a TOML file, which `IVR_FILE` names and which is read at the start."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pageline import Call
from workers.handlers import environment
from workers.handlers.guide import guide
from workers.handlers.plan import Plan
from workers.handlers.plan_file import read_plan


def _configured() -> Plan:
    file = environment.text("IVR_FILE")
    if not file:
        raise ValueError("IVR_FILE is not set: write the path of a TOML file with menus (docs/handlers.md shows one)")
    return read_plan(Path(file))


PLAN: Final = _configured()


async def answer(call: Call) -> None:
    """Lead the caller through the menus of `IVR_FILE`."""
    await guide(call, PLAN, datetime.now(UTC))
