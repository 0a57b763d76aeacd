"""What is due to each webhook is found without passing by what is due to the others."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.drop_index("ix_deliveries_due_at", "deliveries")
    op.create_index("ix_deliveries_webhook_id_due_at", "deliveries", ["webhook_id", "due_at"])


def downgrade() -> None:
    op.drop_index("ix_deliveries_webhook_id_due_at", "deliveries")
    op.create_index("ix_deliveries_due_at", "deliveries", ["due_at"])
