"""Destinations may be asked for storage commitment.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DELIVERY_STATUS = """
    SELECT job.id AS job, study.patient_id, study.accession_number, delivery.destination, result.kind,
           delivery.state, delivery.attempts, delivery.detail, delivery.due_at, delivery.sent_at,
           result.sop_instance_uid, COALESCE(commitment.state, '') AS commitment,
           COALESCE(commitment.detail, '') AS commitment_detail, commitment.failure_reason,
           commitment.committed_at
    FROM delivery JOIN result ON result.id = delivery.result_id JOIN job ON job.id = delivery.job_id
         JOIN study ON study.id = job.study_id LEFT JOIN commitment ON commitment.delivery_id = delivery.id"""


def upgrade() -> None:
    state = sa.Enum("pending", "requested", "committed", "failed", name="commitmentstate", native_enum=False, length=16)
    op.create_table(
        "commitment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("state", state, nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("resends", sa.Integer(), nullable=False),
        sa.Column("stale_request", sa.Integer(), nullable=False),
        sa.Column("failure_reason", sa.Integer(), nullable=True),
        sa.Column("committed_at", sa.Float(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("delivery_id"),
    )
    op.create_index("commitment_queue", "commitment", ["state", "due_at"], unique=False)
    op.create_table(
        "commitment_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("requested_at", sa.Float(), nullable=False),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("transaction_uid"),
    )
    op.create_index(op.f("ix_commitment_request_job_id"), "commitment_request", ["job_id"], unique=False)
    op.execute("DROP VIEW delivery_status")
    op.execute(f"CREATE VIEW delivery_status AS {DELIVERY_STATUS}")
