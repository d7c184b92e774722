"""Records as rows of a table in PostgreSQL or SQLite: one for each call, however often it is delivered.

The table is made, and brought up to date, by the Alembic migrations beside this module when the sink is first used.
They note in a table of their own how far they got, so that the database may have other inhabitants with migrations.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from shared.calls.record import Record
from shared.records.columns import COLUMNS, Kind, row
from shared.records.sink import Removed, SinkFailed
from shared.records.threads import Threads

TABLE: Final = "pageline_calls"
WITHIN_S: Final = 8
_alembic: Final = threading.Lock()
"""Alembic runs one thing at a time in a process."""


def _type(kind: Kind) -> "sa.types.TypeEngine[Any]":
    match kind:
        case "text":
            return sa.Text()
        case "whole":
            return sa.Integer()
        case "number":
            return sa.Float()
        case "time":
            return sa.DateTime(timezone=True)


calls: Final = sa.Table(
    TABLE,
    sa.MetaData(),
    *(sa.Column(name, _type(kind), primary_key=name == "call_id") for name, kind in COLUMNS.items()),
)
"""As the newest migration leaves it."""


class Database:
    """A database."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
            waits = {"connect_timeout": WITHIN_S, "options": f"-c statement_timeout={WITHIN_S * 1000}"}
        else:
            waits = {"timeout": WITHIN_S}
        # an error would otherwise tell whom the row was about
        self._engine = sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True, connect_args=waits)
        self._threads = Threads()
        self._migrating = asyncio.Lock()
        self._migrated = False

    async def take(self, record: Record) -> None:
        """Insert a record, or put it in the place of the one that is there."""
        await self._ready()
        with self._explained():
            await self._threads.run(self._upsert, record)

    async def remove(self, consumers: frozenset[str]) -> Removed:
        """Delete the rows of these consumers."""
        await self._ready()
        with self._explained():
            return await self._threads.run(self._delete, consumers)

    async def close(self) -> None:
        """Close the connections."""
        await self._threads.run(self._engine.dispose)
        self._threads.close()

    async def _ready(self) -> None:
        async with self._migrating:
            if not self._migrated:
                with self._explained():
                    await self._threads.run(self._migrate)
                self._migrated = True

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            said = str(cause).partition("\n")[0]
            raise SinkFailed(f"{self.name}: {type(cause).__name__}: {said}") from error

    # --- in threads ---

    def _migrate(self) -> None:
        if self._engine.url.get_backend_name() == "sqlite" and self._engine.url.database:
            Path(self._engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
        config.attributes["engine"] = self._engine
        with _alembic:
            command.upgrade(config, "head")

    def _upsert(self, record: Record) -> None:
        cells = row(record)
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement = insert(calls).values(cells)
        others = {name: statement.excluded[name] for name in cells if name != "call_id"}
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["call_id"], set_=others))

    def _delete(self, consumers: frozenset[str]) -> Removed:
        theirs = calls.c.consumer.in_(sorted(consumers))
        with self._engine.begin() as connection:
            found = connection.execute(sa.select(calls.c.call_id, calls.c.recordings).where(theirs)).all()
            connection.execute(sa.delete(calls).where(theirs))
        named = (recording for each in found for recording in msgspec.json.decode(each.recordings or "[]"))
        return Removed(len(found), tuple(dict.fromkeys(named)), tuple(each.call_id for each in found))
