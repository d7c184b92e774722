"""Call records as Parquet, for those who analyse many."""

from collections.abc import Iterable
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from shared.calls.record import Record
from shared.records.columns import COLUMNS, row

SCHEMA: Final = pa.schema(
    [
        (
            name,
            {
                "text": pa.string(),
                "whole": pa.int32(),
                "number": pa.float64(),
                "time": pa.timestamp("ms", tz="UTC"),
            }[kind],
        )
        for name, kind in COLUMNS.items()
    ]
)


class Parquet:
    """A file of one row for each record."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(file, SCHEMA)

    def write(self, records: Iterable[Record]) -> None:
        """Write a group of rows."""
        rows = [row(record) for record in records]
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
