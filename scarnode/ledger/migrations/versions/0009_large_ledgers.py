"""Indices that keep questions to a ledger of a million instances flat; series are asked by study date and sender.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SERIES_VERDICT = """
    SELECT study.patient_id, study.accession_number, study.study_instance_uid, series.series_instance_uid,
           series.modality, series.description, series.instances, series.verdict, series.reason, series.detail,
           series.score, series.searched_at, study.study_date, study.calling_ae, series.id
    FROM series JOIN study ON study.id = series.study_id"""

WHOLE = {
    "ix_study_study_date": ("study", ["study_date"]),
    "ix_study_calling_ae": ("study", ["calling_ae"]),
    "ix_study_first_received_at": ("study", ["first_received_at"]),
    "ix_series_searched_at": ("series", ["searched_at"]),
    "series_by_verdict": ("series", ["verdict", "searched_at"]),
    "series_by_reason": ("series", ["reason", "searched_at"]),
    "ix_job_finished_at": ("job", ["finished_at"]),
    "job_state": ("job", ["state", "id"]),
    "series_of_study": ("series", ["study_id", "searched_at"]),
    "delivery_of_job": ("delivery", ["destination", "state", "job_id"]),
    "delivery_state": ("delivery", ["state", "id"]),
}
SOME = {
    "study_waiting": ("study", "last_received_at", "newest_instance > searched_instance"),
    "study_kept": ("study", "last_received_at", "sources_removed_at IS NULL"),
    "instance_unreadable": ("instance", "id", "problem != ''"),
    "result_kept": ("result", "job_id", "removed_at IS NULL"),
}


def upgrade() -> None:
    for name, (table, columns) in WHOLE.items():
        op.create_index(name, table, columns, unique=False)
    for name, (table, column, rows) in SOME.items():
        where = sa.text(rows)
        op.create_index(name, table, [column], unique=False, sqlite_where=where, postgresql_where=where)
    op.execute("DROP VIEW series_verdict")
    op.execute(f"CREATE VIEW series_verdict AS {SERIES_VERDICT}")
