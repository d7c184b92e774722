"""A record as a row: the columns of databases, CSV and Parquet, in one order and with one name each."""

from datetime import datetime
from typing import Final, Literal

import msgspec

from shared.calls.record import Record, Sounded

Kind = Literal["text", "whole", "number", "time"]
Cell = str | int | float | datetime | None

COLUMNS: Final[dict[str, Kind]] = {
    "version": "whole",
    "call_id": "text",
    "meta_id": "text",
    "page": "text",
    "consumer": "text",
    "psid": "text",
    "direction": "text",
    "handler": "text",
    "placed_at": "time",
    "arrived_at": "time",
    "answered_at": "time",
    "ended_at": "time",
    "ring_s": "number",
    "talk_s": "number",
    "total_s": "number",
    "outcome": "text",
    "because": "text",
    "ended_by": "text",
    "handler_ended": "text",
    "handler_error": "text",
    "why": "text",
    **dict.fromkeys(Sounded.__struct_fields__, "number"),
    "recordings": "text",
    "ended_cause": "text",
}
"""Figures of quality stand beside the rest; recordings are a JSON array, as text. What is added goes last."""


def row(record: Record) -> dict[str, Cell]:
    """Return a record's cells, by column."""
    cells: dict[str, Cell] = {name: getattr(record, name) for name in COLUMNS if name in record.__struct_fields__}
    sounded = record.quality or Sounded()
    cells.update((name, getattr(sounded, name)) for name in Sounded.__struct_fields__)
    cells["recordings"] = msgspec.json.encode(record.recordings).decode()
    return {name: cells[name] for name in COLUMNS}
