"""Files may be removed after delivery; urgent jobs go first.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JOB_SUMMARY = """
    SELECT job.id AS job, job.state, job.reason, CASE job.priority WHEN 1 THEN 'urgent' ELSE 'routine' END AS priority,
           job.origin, study.patient_id, study.patient_name, study.accession_number, study.study_date,
           study.study_instance_uid, job.slices, job.flags,
           job.scar_volume_cm3, job.myocardium_volume_cm3, job.lge_percent, job.attempts,
           job.predecessor_id AS revises, job.created_at, job.finished_at, study.calling_ae, study.sources_removed_at,
           (SELECT max(result.removed_at) FROM result WHERE result.job_id = job.id) AS results_removed_at
    FROM job JOIN study ON study.id = job.study_id"""


def upgrade() -> None:
    op.execute("DROP VIEW job_summary")
    op.add_column("instance", sa.Column("removed_at", sa.Float(), nullable=True))
    op.add_column("result", sa.Column("removed_at", sa.Float(), nullable=True))
    op.add_column("study", sa.Column("sources_removed_at", sa.Float(), nullable=True))
    op.add_column("job", sa.Column("priority", sa.Integer(), nullable=False, server_default="2"))
    op.create_index(op.f("ix_instance_digest"), "instance", ["digest"], unique=False)
    op.drop_index("job_queue", "job")
    op.create_index("job_queue", "job", ["state", "priority", "id"], unique=False)
    op.execute(f"CREATE VIEW job_summary AS {JOB_SUMMARY}")
