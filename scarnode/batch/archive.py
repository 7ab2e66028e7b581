"""`scarnode segment`: one study or a whole archive of files, in separate processes. A run can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
import queue
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from pydantic import TypeAdapter, ValidationError

from scarnode import RESEARCH_USE, __version__
from scarnode.batch.process import BatchOptions, StudyProcess
from scarnode.batch.study import FAILED, Outcome, list_files, names, not_writable
from scarnode.dicom.part10 import read
from scarnode.dicom.values import read_value
from scarnode.pipeline.report import KINDS
from scarnode.pipeline.segment import read_identity
from scarnode.util.durable import open_to_append, replace_durably
from scarnode.util.errors import InputError
from scarnode.util.tables import to_csv

JOURNAL = "studies.jsonl"
"""File in the output folder with a line for every finished study."""

TABLE = "results.csv"
"""File in the output folder with a row for every stack, and for every study without one."""

Progress = Callable[[str, int, int], None]
"""Called with the activity ("Reading headers", "Analysing"), the count done and the total."""


@dataclass(frozen=True)
class _Study:
    """Files of one Study Instance UID (empty: none). The key changes with everything that changes the result."""

    uid: str
    files: tuple[Path, ...]
    key: str


@dataclass(frozen=True)
class _Done:
    """A line of the journal."""

    key: str
    study_uid: str
    outcome: Outcome


def analyse_files(
    paths: Sequence[Path], options: BatchOptions, progress: Progress = lambda what, done, total: None
) -> Outcome:
    """Find and analyse every short-axis LGE stack in files and folders, study by study.

    Finished studies are recorded. A run with the same output folder, weights and version analyses only studies that are
    new, changed or failed. A study that crashes its process fails alone.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files, or folders searched to any depth.
    options : BatchOptions
    progress : callable
        Called with the progress.

    Returns
    -------
    Outcome
        Of all studies, also those that were done before.

    Raises
    ------
    InputError
        There is no such kind, no file is there, or none of them is readable DICOM.
    WeightsError
        The network can not be loaded.
    """
    if unknown := set(options.kinds) - set(KINDS):
        raise InputError(f"no such kind of object: {', '.join(sorted(unknown))}", todo=f"Known: {', '.join(KINDS)}")
    studies = _studies(list_files(paths), options, progress)
    with _open_journal(options.output) as journal:
        done = {entry.key: entry for entry in _read_journal(journal)}
        waiting = [study for study in studies if study.key not in done or _failed(done[study.key].outcome)]
        for number, (study, outcome) in enumerate(_analysed(waiting, options), 1):
            done[study.key] = _Done(study.key, study.uid, outcome)
            _write_line(journal, done[study.key])
            progress("Analysing", len(studies) - len(waiting) + number, len(studies))
    ended = [done[study.key] for study in studies]
    _write_table(ended, options.output)
    stacks = tuple(stack for entry in ended for stack in entry.outcome.stacks)
    rejected = tuple(series for entry in ended for series in entry.outcome.rejected)
    if not stacks and all(series.reason == "UNREADABLE" for series in rejected):
        raise InputError(
            f"none of the {len(rejected)} files is readable DICOM", names(paths), "Give DICOM files or folders"
        )
    return Outcome(stacks, rejected)


def _studies(files: Sequence[Path], options: BatchOptions, progress: Progress) -> list[_Study]:
    """Group files by study. Files that are no DICOM make one group, whose analysis reports why."""
    by_uid: dict[str, list[Path]] = defaultdict(list)
    for number, file in enumerate(files, 1):
        try:
            uid = read_value(read(file, ["StudyInstanceUID"]), "StudyInstanceUID").text
        except Exception:  # `find_stacks` reports the fault of this file
            uid = ""
        by_uid[uid].append(file)
        if number % 100 == 0 or number == len(files):
            progress("Reading headers", number, len(files))
    network = read_identity(options.weights).sha256
    return [_Study(uid, tuple(mine), _key(uid, mine, network, options)) for uid, mine in by_uid.items()]


def _key(uid: str, files: Sequence[Path], network: str, options: BatchOptions) -> str:
    digest = hashlib.sha256("\n".join((uid, network, __version__, *sorted(options.kinds))).encode())
    for file in sorted(files):
        try:
            state = file.stat()
        except OSError:  # the analysis reports the fault
            continue
        digest.update(f"\n{file.absolute()}\t{state.st_size}\t{state.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _failed(outcome: Outcome) -> bool:
    return any(series.reason == FAILED for series in outcome.rejected)


def _analysed(studies: Sequence[_Study], options: BatchOptions) -> Iterator[tuple[_Study, Outcome]]:
    """Analyse studies in parallel processes; yield each as it ends."""
    with (
        _processes(min(options.workers, len(studies)), options) as analyse,
        ThreadPoolExecutor(options.workers) as threads,
    ):
        running = {threads.submit(analyse, study): study for study in studies}
        try:
            for ended in as_completed(running):
                yield running[ended], ended.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _processes(count: int, options: BatchOptions) -> Iterator[Callable[[_Study], Outcome]]:
    """Yield a function that analyses a study in a free process."""
    threads = max(1, (os.cpu_count() or 1) // max(1, count))
    everybody = [StudyProcess(options, threads) for _ in range(count)]
    free: queue.SimpleQueue[StudyProcess] = queue.SimpleQueue()
    for process in everybody:
        free.put(process)

    def analyse(study: _Study) -> Outcome:
        process = free.get()
        try:
            return _named(process.analyse(study.uid, study.files), study.uid)
        finally:
            free.put(process)

    try:
        yield analyse
    finally:
        for process in everybody:
            process.end()


def _named(outcome: Outcome, study_uid: str) -> Outcome:
    """Add the Study Instance UID to rejected files without a series."""
    rejected = tuple(replace(series, study_uid=series.study_uid or study_uid) for series in outcome.rejected)
    return replace(outcome, rejected=rejected)


def _open_journal(output: Path) -> TextIO:
    """Open the journal for reading and appending. It names studies, so only its owner may read it."""
    try:
        return open_to_append(output / JOURNAL, output)
    except OSError as error:
        raise not_writable(error, output) from None


def _read_journal(journal: TextIO) -> Iterator[_Done]:
    """Read the finished studies. A line that a crash cut off does not count, and is terminated."""
    journal.seek(0)
    written, shape = journal.read(), TypeAdapter(_Done)
    for line in written.splitlines():
        with suppress(ValidationError):
            yield shape.validate_json(line)
    if written and not written.endswith("\n"):
        print(file=journal)


def _write_line(journal: TextIO, done: _Done) -> None:
    print(json.dumps(asdict(done)), file=journal, flush=True)
    os.fsync(journal.fileno())


COLUMNS = (
    "study_instance_uid",
    "series_instance_uids",
    "status",
    "slices",
    "scar_volume_cm3",
    "myocardium_volume_cm3",
    "lge_percent",
    "flags",
    "reasons",
    "seg",
    "notice",
)


def _write_table(ended: Sequence[_Done], output: Path) -> None:
    """Write the table of results. It names studies, so only its owner may read it."""
    rows = [
        {"study_instance_uid": entry.study_uid, "notice": RESEARCH_USE, **row}
        for entry in ended
        for row in _rows(entry)
    ]
    try:
        replace_durably(output / TABLE, [to_csv(COLUMNS, rows).encode()], output)
    except OSError as error:
        raise not_writable(error, output) from None


def _rows(entry: _Done) -> Iterator[dict[str, object]]:
    for stack in entry.outcome.stacks:
        yield {
            "series_instance_uids": " ".join(stack.series_uids),
            "status": "analysed",
            "slices": stack.slices,
            "scar_volume_cm3": f"{stack.scar_volume_cm3:.3f}",
            "myocardium_volume_cm3": f"{stack.myocardium_volume_cm3:.3f}",
            "lge_percent": "" if stack.lge_percent is None else f"{stack.lge_percent:.3f}",
            "flags": " ".join(stack.flags),
            "seg": stack.seg,
        }
    failed = [series for series in entry.outcome.rejected if series.reason == FAILED]
    for series in failed:
        yield {"series_instance_uids": series.series_uid, "status": "failed", "reasons": series.detail}
    if not entry.outcome.stacks and not failed:
        reasons = dict.fromkeys(series.reason for series in entry.outcome.rejected)
        yield {"status": "no stack", "reasons": " ".join(reasons)}
