"""A study whose images name somebody else than its results do.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("identity_conflict", sa.Text(), nullable=False, server_default=""))
    op.create_index(
        "study_identity_conflict",
        "study",
        ["id"],
        sqlite_where=sa.text("identity_conflict != ''"),
        postgresql_where=sa.text("identity_conflict != ''"),
    )
