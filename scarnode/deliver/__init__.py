"""deliver: result files go to their destinations, and every one of them gets an answer that can be acted on.

`send` takes files and a `Destination` and gives one `Outcome` per file; it never raises for what a peer does.
`echo` asks a destination whether it is there. `next_delay` says when to try again.
"""

from scarnode.deliver.backoff import next_delay
from scarnode.deliver.dimse import Destination, Outcome, echo, send

__all__ = ["Destination", "Outcome", "echo", "next_delay", "send"]
