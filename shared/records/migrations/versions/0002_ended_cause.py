"""What had us end a call, beside who ended it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; the rows that there are say nothing of it."""
    op.add_column("pageline_calls", sa.Column("ended_cause", sa.Text()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("pageline_calls", "ended_cause")
