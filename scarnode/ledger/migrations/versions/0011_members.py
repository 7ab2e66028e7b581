"""Several processes on one ledger: which of them live. Numbers of rows beyond 32 bits on PostgreSQL.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

WIDER = {"instance": ["id"], "event": ["id"], "study": ["newest_instance", "searched_instance"]}


def upgrade() -> None:
    op.create_table(
        "member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("roles", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("caught_up_to", sa.Float(), nullable=True),
        sa.Column("lost_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in WIDER.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.BigInteger())
    for table in ("instance", "event"):
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS bigint")
