"""What Alembic runs: the migrations, over the sink's own connection, by one process at a time."""

from typing import Final

import sqlalchemy as sa
from alembic import context

VERSIONS: Final = "pageline_calls_version"
LOCK: Final = 7_046_771_201
"""An advisory lock of PostgreSQL's; a number that is ours."""


def _migrate(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    context.configure(connection=connection, version_table=VERSIONS, transactional_ddl=True)
    context.run_migrations()


_engine: sa.Engine = context.config.attributes["engine"]
with _engine.begin() as _connection:
    _migrate(_connection)
