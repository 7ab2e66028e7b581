"""The wire around the node in tests: real peers (Orthanc, dcmtk), and the node as a process of its own."""

from tests.harness.dcmtk import echoscu, storescp, storescu
from tests.harness.ledger import jobs, query, wait_for_jobs
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.tools import find_tool, free_port, wait_until

__all__ = [
    "Node",
    "Orthanc",
    "echoscu",
    "find_tool",
    "free_port",
    "jobs",
    "query",
    "storescp",
    "storescu",
    "wait_for_jobs",
    "wait_until",
]
