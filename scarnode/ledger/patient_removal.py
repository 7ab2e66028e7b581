"""Taking a patient's images out of a study that two patients got into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import select

from scarnode.dicom.scp import ReceivedInstance, describe
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Instance, Study
from scarnode.util.durable import make_folder, replace_durably
from scarnode.util.errors import InputError, LedgerError


def files_of(spool: Path, paths: Sequence[str], patient: str) -> tuple[list[ReceivedInstance], list[ReceivedInstance]]:
    """Sort a study's files in the spool into those of a patient and the others.

    Raises
    ------
    InputError
        There are none of one or the other.
    """
    found = [describe(spool, spool / path) for path in paths if (spool / path).exists()]
    own = [one for one in found if one.patient_id == patient]
    others = [one for one in found if one.patient_id != patient]
    if not own or not others:
        what = (
            "no file of this study has this Patient ID" if not own else "all files of this study have this Patient ID"
        )
        raise InputError(what, "--patient", "See whose they are: scarnode series files")
    return own, others


def take_out(
    store: Store,
    spool: Path,
    taken: Sequence[ReceivedInstance],
    left: ReceivedInstance,
    to: Path,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Move a study's instances out of the spool into a folder.

    They are there, whole, before they go here: whenever this is cut off, nothing is lost, and doing it again ends it.

    Parameters
    ----------
    store : Store
    spool : Path
    taken : sequence of ReceivedInstance
    left : ReceivedInstance
        As of `mark_taken_out`.
    to : Path
        Made where it is not there.
    tell : callable, optional
        Called before they go here: where it raises, nothing goes.

    Raises
    ------
    InputError
        The folder can not be written.
    LedgerError
        As of `mark_taken_out`; nothing was moved.
    """
    try:
        make_folder(to)
        for one in taken:
            replace_durably(to / Path(one.path).name, [(spool / one.path).read_bytes()], to)
    except OSError as error:
        todo = "Name a folder that this user can write, with room for the files"
        raise InputError(f"can not be written ({error.strerror})", str(to), todo) from None
    mark_taken_out(store, taken, left, tell)
    for one in taken:
        (spool / one.path).unlink(missing_ok=True)


def mark_taken_out(
    store: Store, taken: Sequence[ReceivedInstance], left: ReceivedInstance, tell: Callable[[], None] = lambda: None
) -> None:
    """Mark a study's instances as removed, and have the study searched again.

    The rows stay. An instance's row gets another path, so that the same file, sent again, is a new one.

    Parameters
    ----------
    taken : sequence of ReceivedInstance
        Of one study.
    left : ReceivedInstance
        One that stays: from now on the study is its patient's.
    tell : callable, optional
        Called last in the transaction: where it raises, nothing is changed.

    Raises
    ------
    LedgerError
        The study is arriving or being searched: its search would not know of this.
    """
    now = store.clock.wall_time()
    paths = [one.path for one in taken]
    with store.writing() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == left.study_instance_uid)).one()
        if study.newest_instance > study.searched_instance:
            todo = "Wait until nothing comes any more and its series are listed: scarnode series list"
            raise LedgerError("is still arriving, or being searched", left.study_instance_uid, todo)
        for row in session.scalars(select(Instance).where(Instance.study_id == study.id)):
            if row.path in paths:
                row.removed_at, row.path = now, f"{row.path}#{row.id}"
        study.searched_instance = 0
        study.patient_id, study.patient_name = left.patient_id, left.patient_name
        study.accession_number, study.study_date = left.accession_number, left.study_date
        note = f"{len(taken)} images of another patient taken out; the study will be searched again"
        session.add(store.event(study.id, None, "", "", note))
        session.flush()
        tell()
