"""Sequences of 64 bits: on PostgreSQL they had 32, which a billion ECGs a year fill in two."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = ("studies", "loose_blobs", "tombstones", "model_history", "events", "deliveries")


def upgrade() -> None:
    _become("bigint", sa.BigInteger())


def downgrade() -> None:
    _become("integer", sa.Integer())


def _become(name: str, kind: sa.types.TypeEngine[int]) -> None:
    """Every integer of SQLite has 64 bits."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.alter_column(table, "sequence", type_=kind)
        if table != "deliveries":  # whose numbers are those of events
            op.execute(f"alter sequence {table}_sequence_seq as {name}")
