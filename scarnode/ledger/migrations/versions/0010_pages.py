"""Indices for the web pages: who sent when, and how a patient's name begins.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NAME = {"sqlite": "patient_name COLLATE NOCASE", "postgresql": "lower(patient_name) text_pattern_ops"}


def upgrade() -> None:
    op.drop_index("ix_study_calling_ae", "study")
    op.create_index("study_sender", "study", ["calling_ae", "last_received_at"], unique=False)
    if name := NAME.get(op.get_bind().dialect.name):
        op.execute(f"CREATE INDEX study_name ON study ({name})")
