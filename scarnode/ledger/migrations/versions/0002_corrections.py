"""Corrections come back: a job may be a person's.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JOB_SUMMARY = """
    SELECT job.id AS job, job.state, job.reason, job.origin, study.patient_id, study.patient_name,
           study.accession_number, study.study_date, study.study_instance_uid, job.slices, job.flags,
           job.scar_volume_cm3, job.myocardium_volume_cm3, job.lge_percent, job.attempts,
           job.predecessor_id AS revises, job.created_at, job.finished_at, study.calling_ae
    FROM job JOIN study ON study.id = job.study_id"""


def upgrade() -> None:
    op.execute("DROP VIEW job_summary")
    origin = sa.Enum("network", "correction", name="joborigin", native_enum=False, length=16)
    op.add_column("job", sa.Column("origin", origin, nullable=False, server_default="network"))
    op.add_column("job", sa.Column("correction", sa.Text(), nullable=False, server_default=""))
    op.execute(f"CREATE VIEW job_summary AS {JOB_SUMMARY}")
