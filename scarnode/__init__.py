"""scarnode: a DICOM node that measures scar in late-gadolinium-enhancement short-axis stacks.

The packages are laid out in the order in which a study walks through them:
receive, stack, segment, measure, report, deliver; `jobs` is the ledger beside the walk.
"""

__version__ = "0.1.0"

RESEARCH_USE = "Research use only, not for diagnostic use"
"""Stands on every result object and every printed result."""
