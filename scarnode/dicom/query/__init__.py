"""query: what to ask of an archive, and how its studies come to the node.

`find_studies` and `find_series` ask (C-FIND); `choose_series` and `pull_study` bring what could hold an LGE stack, by
C-MOVE to the node or by C-GET through it, until all of it is there.
"""

from scarnode.dicom.query.ask import find_series, find_studies
from scarnode.dicom.query.model import (
    Archive,
    FoundSeries,
    FoundStudy,
    Period,
    PulledStudy,
    PullRule,
    QueryError,
    SubOperations,
    Wanted,
    read_period,
)
from scarnode.dicom.query.pull import Link, choose_series, pull_study

__all__ = [
    "Archive",
    "FoundSeries",
    "FoundStudy",
    "Link",
    "Period",
    "PullRule",
    "PulledStudy",
    "QueryError",
    "SubOperations",
    "Wanted",
    "choose_series",
    "find_series",
    "find_studies",
    "pull_study",
    "read_period",
]
