"""One study from files: the same search and analysis as in the node."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scarnode import RESEARCH_USE
from scarnode.pipeline.analyse import analyse, provenance_now, write_objects
from scarnode.pipeline.report import USUAL, save_page
from scarnode.pipeline.stack import Rules, Stack, Verdict, find_stacks
from scarnode.util.errors import InputError, ScarnodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scarnode.pipeline.segment.predict import Segmenter


@dataclass(frozen=True)
class StackOutcome:
    """Numbers and files of one analysed stack."""

    study_uid: str
    series_uids: tuple[str, ...]
    component: str
    scar_volume_cm3: float
    myocardium_volume_cm3: float
    lge_percent: float | None
    slices: int
    flags: tuple[str, ...]
    seg: str
    sr: str
    sc: str
    png: str
    more: dict[str, str]
    """Kind and file of every other object that was requested."""


@dataclass(frozen=True)
class RejectedSeries:
    """A series, or a file, that was not analysed, and why."""

    series_uid: str
    reason: str
    detail: str
    study_uid: str = ""


@dataclass(frozen=True)
class Outcome:
    """The result of analysing a set of files."""

    stacks: tuple[StackOutcome, ...]
    rejected: tuple[RejectedSeries, ...]
    notice: str = RESEARCH_USE


FAILED = "FAILED"
"""Reason of a stack or study whose analysis failed."""


def analyse_study(
    files: Sequence[Path],
    output: Path,
    segmenter: Callable[[], Segmenter],
    rules: Rules | None = None,
    kinds: Collection[str] = USUAL,
) -> Outcome:
    """Find and analyse every short-axis LGE stack among a study's files.

    Parameters
    ----------
    files : sequence of Path
    output : Path
        Gets one sub-folder per stack with ``seg.dcm``, ``sr.dcm``, ``sc.dcm`` and ``sheet.png``.
    segmenter : callable
        Returns the network; called only where there is a stack.
    rules : Rules, optional
        How a stack is recognised.
    kinds : collection of str
        Which of `scarnode.pipeline.report.KINDS` are made besides the usual ones.

    Returns
    -------
    Outcome
    """
    found = find_stacks(files, rules or Rules())
    rejected = [
        RejectedSeries(series.series_instance_uid, series.reason, series.detail, series.study_instance_uid)
        for series in found.series
        if series.verdict is not Verdict.ACCEPTED
    ]
    faults = {path for path, _ in found.system_faults}  # the next run tries them again
    rejected += [
        RejectedSeries(str(path), FAILED if path in faults else "UNREADABLE", why) for path, why in found.unreadable
    ]
    stacks: list[StackOutcome] = []
    for stack in found.stacks:
        network = segmenter()
        try:
            stacks.append(_analyse_one(stack, network, output, kinds))
        except ScarnodeError as error:
            rejected.append(RejectedSeries(stack.series_instance_uids[0], FAILED, str(error), stack.study_instance_uid))
    return Outcome(tuple(stacks), tuple(rejected))


def _analyse_one(stack: Stack, segmenter: Segmenter, output: Path, kinds: Collection[str]) -> StackOutcome:
    from scarnode.config import Settings

    provenance = provenance_now(stack, segmenter.identity.sha256, Settings().digest())
    analysis = analyse(stack, segmenter, provenance, kinds)
    folder = output / provenance.job_key[:16]
    picture = folder / "sheet.png"
    try:
        files = write_objects(analysis.objects, folder, output)
        save_page(analysis.objects.sc, picture, output)
    except OSError as error:
        raise not_writable(error, folder) from None
    numbers = analysis.measurements
    return StackOutcome(
        study_uid=stack.study_instance_uid,
        series_uids=stack.series_instance_uids,
        component=stack.component.value,
        scar_volume_cm3=numbers.scar_volume,
        myocardium_volume_cm3=numbers.myocardium_volume,
        lge_percent=numbers.lge_percent,
        slices=len(stack.frames),
        flags=analysis.flags,
        seg=str(files["seg"]),
        sr=str(files["sr"]),
        sc=str(files["sc"]),
        png=str(picture),
        more={kind: str(file) for kind, file in files.items() if kind not in USUAL},
    )


def not_writable(error: OSError, where: Path) -> InputError:
    """Return the error of an output folder that can not be written."""
    what = f"can not be written ({error.strerror})"
    return InputError(
        what, str(error.filename or where), "Name a folder that this user alone can write, with free space"
    )


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return files, and those in folders to any depth; InputError where there is none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise InputError("there is no such file or folder", str(path), "Give DICOM files or folders")
    if not files:
        raise InputError("there is no file", names(paths), "Give DICOM files or folders")
    return files


def names(paths: Sequence[Path]) -> str:
    """Format paths for a message."""
    return ", ".join(str(path) for path in paths)
