"""`pageline records`: what is written of the calls whose logs are kept."""

import asyncio
import csv
import json
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from pageline.cli import app
from shared.bus import Bus
from shared.index import INDEX, LISTED_AT_ONCE, calls_between
from shared.pseudonyms import pseudonym
from shared.records.columns import COLUMNS
from shared.wire import Wire
from tests.integration.test_records import PAGE, PSID, a_call

CALLS: Final = 3


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        bus = Bus(wire)
        for number in range(CALLS):
            await a_call(bus, f"c_{number}")
        yield bus


async def records(redis_url: str, *arguments: str, **environ: str) -> Result:
    runner = CliRunner(env=os.environ | {"REDIS_URL": redis_url} | environ)
    return await asyncio.to_thread(runner.invoke, app, ["records", *arguments])


@pytest.mark.usefixtures("bus")
async def test_records_are_written_as_lines_csv_and_parquet(redis_url: str, tmp_path: Path) -> None:
    def told(result: Result) -> Any:
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    for format_ in ("jsonl", "csv", "parquet"):
        file = tmp_path / format_
        report = told(
            await records(redis_url, "export", "--from", "2020-01-01", "--format", format_, "-o", str(file), "--json")
        )
        assert report == {"records": CALLS, "format": format_, "file": str(file)}
    lines = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    with (tmp_path / "csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "parquet")
    assert [line["call_id"] for line in lines] == [row["call_id"] for row in rows] == ["c_0", "c_1", "c_2"]
    assert table.column("call_id").to_pylist() == ["c_0", "c_1", "c_2"]
    assert list(rows[0]) == table.column_names == list(COLUMNS)
    assert {row["consumer"] for row in rows} == {pseudonym(PSID)}
    assert rows[0]["ended_at"] == lines[0]["ended_at"]
    assert table.column("ended_at").to_pylist()[0] == datetime.fromisoformat(rows[0]["ended_at"])
    assert sorted(os.listdir(tmp_path)) == ["csv", "jsonl", "parquet"]  # noqa: PTH208 nothing half written beside


@pytest.mark.usefixtures("bus")
async def test_records_are_chosen_by_time_and_page(redis_url: str) -> None:
    async def count(*arguments: str) -> int:
        result = await records(redis_url, "export", *arguments)
        assert result.exit_code == 0, result.output
        return len(result.stdout.splitlines())

    assert await count("--from", "2020-01-01") == CALLS
    assert await count("--from", "2020-01-01", "--page", PAGE) == CALLS
    assert await count("--from", "2020-01-01", "--page", "1") == 0
    assert await count("--from", "2020-01-01", "--to", "2020-01-02") == 0
    assert await count("--from", "2999-01-01T08:00") == 0


@pytest.mark.usefixtures("bus")
async def test_one_record_is_shown_with_the_psid_only_where_that_is_wanted(redis_url: str) -> None:
    shown = json.loads((await records(redis_url, "show", "c_1", "--json")).stdout)
    assert (shown["call_id"], shown["psid"], shown["outcome"]) == ("c_1", None, "completed")
    shown = json.loads((await records(redis_url, "show", "c_1", "--json", RECORDS_PSID="on")).stdout)
    assert shown["psid"] == PSID
    assert "completed" in (await records(redis_url, "show", "c_1")).stdout
    assert (await records(redis_url, "show", "c_9")).exit_code == 1


@pytest.mark.usefixtures("bus")
async def test_what_cannot_be_written_is_bad_usage(redis_url: str, tmp_path: Path) -> None:
    for arguments in (
        ("--from", "yesterday"),
        ("--from", "2020-01-01", "--json"),
        ("--from", "2020-01-01", "--format", "parquet"),
        ("--from", "2020-01-01", "-o", str(tmp_path / "nowhere" / "file")),
    ):
        assert (await records(redis_url, "export", *arguments)).exit_code == 2, arguments


async def test_the_index_is_read_to_its_end(bus: Bus) -> None:
    members = [part for number in range(LISTED_AT_ONCE + 5) for part in (1000 + number, f"d_{number:05}")]
    await bus.wire.call("ZADD", INDEX, *members)
    assert await calls_between(bus.wire, 1000, 1001 + LISTED_AT_ONCE) == [
        f"d_{number:05}" for number in range(LISTED_AT_ONCE + 1)
    ]
