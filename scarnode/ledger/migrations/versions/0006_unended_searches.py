"""A study that ends the node while it is searched does so a few times at most.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("study", sa.Column("unended_searches", sa.Integer(), nullable=False, server_default="0"))
