"""The table of call records."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXTS: Final = ("meta_id", "page", "consumer", "psid", "direction", "handler")
_TIMES: Final = ("placed_at", "arrived_at", "answered_at", "ended_at")
_LENGTHS: Final = ("ring_s", "talk_s", "total_s")
_ENDS: Final = ("outcome", "because", "ended_by", "handler_ended", "handler_error", "why")
_FIGURES: Final = (
    *("mos_estimate", "sent_mos_estimate", "lost_percent", "peer_lost_percent", "concealed_percent"),
    *("jitter_ms", "round_trip_ms", "first_packet_ms"),
)


def upgrade() -> None:
    """Make the table, and what it is searched by."""
    op.create_table(
        "pageline_calls",
        sa.Column("version", sa.Integer()),
        sa.Column("call_id", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.Text()) for name in _TEXTS),
        *(sa.Column(name, sa.DateTime(timezone=True)) for name in _TIMES),
        *(sa.Column(name, sa.Float()) for name in _LENGTHS),
        *(sa.Column(name, sa.Text()) for name in _ENDS),
        *(sa.Column(name, sa.Float()) for name in _FIGURES),
        sa.Column("recordings", sa.Text()),
    )
    op.create_index("pageline_calls_ended_at", "pageline_calls", ["ended_at"])
    op.create_index("pageline_calls_consumer", "pageline_calls", ["consumer"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("pageline_calls")
