"""Files of studies in; short-axis late-enhancement stacks out, and a reason for every series that is none."""

from scarnode.pipeline.stack.assemble import find_stacks
from scarnode.pipeline.stack.digest import dataset_digest, input_digest
from scarnode.pipeline.stack.model import (
    Component,
    Flag,
    SeriesVerdict,
    SourceFrame,
    Stack,
    StackSearch,
    Vector,
    Verdict,
)
from scarnode.pipeline.stack.pixels import read_volume
from scarnode.pipeline.stack.reasons import REASONS
from scarnode.pipeline.stack.rules import Rules

__all__ = [
    "REASONS",
    "Component",
    "Flag",
    "Rules",
    "SeriesVerdict",
    "SourceFrame",
    "Stack",
    "StackSearch",
    "Vector",
    "Verdict",
    "dataset_digest",
    "find_stacks",
    "input_digest",
    "read_volume",
]
