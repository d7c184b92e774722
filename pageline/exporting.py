"""Call records for whoever runs the line: folded from the logs that are kept, into a file or onto the screen."""

import asyncio
import csv
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, cast

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pageline.command import BAD_USAGE, die
from pageline.story import ask
from shared.bus import Bus
from shared.calls.record import Record, record_of
from shared.index import calls_between
from shared.outbound import ours_of
from shared.records.columns import COLUMNS, Cell, row
from shared.settings import Settings

LOGS_AT_ONCE: Final = 50


class Wanted(NamedTuple):
    """Which records: of calls first heard of from then on and before that, of one Page or all."""

    from_ms: int
    to_ms: int | None = None
    page: str = ""


class Writer(Protocol):
    """Writes records one after the other."""

    def write(self, records: Iterable[Record]) -> None: ...
    def close(self) -> None: ...


def one(settings: Settings, call_id: str) -> Record | None:
    """Return the record of one call; none if there is none: it goes on, or nothing is known of it."""

    async def read(bus: Bus) -> Record | None:
        return await _record(bus, await ours_of(bus, call_id), settings)

    return ask(settings, read, only_reads=True)


def export(settings: Settings, wanted: Wanted, format_: str, to: Path | None, *, quiet: bool) -> int:
    """Write records to a file, which is there when all of them are in it, or to stdout; return how many."""

    async def write(bus: Bus) -> int:
        count = 0
        with _target(to) as file, _progress(quiet) as progress:
            writer = writer_of(format_, file)
            async for records in _records(bus, wanted, settings, progress):
                writer.write(records)
                count += len(records)
            writer.close()
        return count

    return ask(settings, write, only_reads=True)


def writer_of(format_: str, file: BinaryIO) -> Writer:
    """Return what writes a format; dies, naming the extra, where that needs a library that is not installed."""
    match format_:
        case "jsonl":
            return _Lines(file)
        case "csv":
            return _Csv(file)
    try:
        from pageline.parquet import Parquet
    except ImportError:
        die("Parquet needs pyarrow, which is not installed: pip install 'pageline[parquet]'.", BAD_USAGE)
    return Parquet(file)


def print_one(record: Record) -> None:
    """Print a record, a field on a line."""
    console = Console(markup=False, highlight=False)
    for name, cell in row(record).items():
        if cell not in {None, ""}:
            console.print(f"{name:18} {_text(cell)}")


async def _records(bus: Bus, wanted: Wanted, settings: Settings, progress: Progress) -> AsyncIterator[list[Record]]:
    now_s, _ = await bus.wire.call("TIME")
    to_ms = (int(now_s) + 1) * 1000 if wanted.to_ms is None else wanted.to_ms
    calls = await calls_between(bus.wire, wanted.from_ms, to_ms)
    task = progress.add_task("calls", total=len(calls))
    for start in range(0, len(calls), LOGS_AT_ONCE):
        some = calls[start : start + LOGS_AT_ONCE]
        records = await asyncio.gather(*(_record(bus, call_id, settings) for call_id in some))
        yield [each for each in records if each is not None and wanted.page in {"", each.page}]
        progress.advance(task, len(some))


async def _record(bus: Bus, call_id: str, settings: Settings) -> Record | None:
    log = [entry.fact for entry in await bus.read_log(call_id)]
    return record_of(call_id, log, with_psid=settings.records_psid == "on")


def _progress(quiet: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


@contextmanager
def _target(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a pipe, which nothing can take the place of
        with path.open("wb") as pipe:
            yield pipe
        return
    with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)


class _Lines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, records: Iterable[Record]) -> None:
        self._file.writelines(msgspec.json.encode(record) + b"\n" for record in records)

    def close(self) -> None:
        """Nothing comes after the last line."""


class _Csv:
    """RFC 4180, with a line of names at the top."""

    def __init__(self, file: BinaryIO) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.DictWriter(self._text, list(COLUMNS))
        self._writer.writeheader()

    def write(self, records: Iterable[Record]) -> None:
        self._writer.writerows(_texts(row(record)) for record in records)

    def close(self) -> None:
        self._text.detach()


def _texts(cells: Mapping[str, Cell]) -> dict[str, Any]:
    return {name: _text(cell) for name, cell in cells.items()}


def _text(cell: Cell) -> str:
    return "" if cell is None else str(msgspec.to_builtins(cell))
