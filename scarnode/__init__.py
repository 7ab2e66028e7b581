"""scarnode: a DICOM node that measures scar in late-gadolinium-enhancement short-axis stacks.

A study walks through `dicom.scp` (listener), `dicom.spool` (durable files), `pipeline` (stack, segment, measure,
report) and `dicom.scu` (back to the PACS). `node` runs this, `ledger` keeps account of every job.
docs/architecture.md has the map.
"""

import os

# Before torch is imported anywhere: its threads sleep while they wait for each other instead of spinning. On a machine
# that has other work too, spinning threads made one stack take three times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

RESEARCH_USE = "Research use only, not for diagnostic use"
"""Stands on every result object and every printed result."""
