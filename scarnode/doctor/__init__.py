"""doctor: checks everything that a node needs, proposes a remedy for each fault, and runs a self-test.

`examine` yields a `Finding` for each check. The last ones are of the self-test: the running node analyses a synthetic
study, the result is checked, and nothing is sent to a destination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from scarnode.doctor.model import Finding, fail, warning

__all__ = ["Finding", "examine"]


def examine(
    config: Path, try_out: bool = True, progress: Callable[[str], None] = lambda text: None
) -> Iterator[Finding]:
    """Check a node.

    Parameters
    ----------
    config : Path
        Its config.ini.
    try_out : bool
        Run the self-test. Without a running node, the synthetic study is analysed in this process.
    progress : callable
        Called with a message before each wait.

    Yields
    ------
    Finding
        As each is known.
    """
    from scarnode.config import read_settings
    from scarnode.doctor import machine, peers
    from scarnode.util.errors import ScarnodeError

    try:
        settings = read_settings(config)
    except ScarnodeError as error:
        yield fail("config.ini", str(error.what), error.todo)
        return
    yield from machine.check_config_file(config)
    ledger = machine.check_ledger(settings)
    yield ledger
    yield from machine.check_folders(settings)
    weights = machine.check_weights(settings)
    yield weights
    device = machine.check_device(settings)
    yield device
    yield machine.check_clock(settings)
    yield machine.check_fonts()
    yield from machine.check_certificate(settings)
    from scarnode.config.local_node import own_node
    from scarnode.dicom.scu import echo

    here = echo(own_node(settings, timeout=5.0), settings.node.ae_title).ok
    if not settings.tls.only:
        yield machine.check_port("port", settings.node.host, settings.node.port, here)
    if settings.tls.port:
        answers = here if settings.tls.only else here and machine.is_open(settings.node.host, settings.tls.port)
        yield machine.check_port("TLS port", settings.node.host, settings.tls.port, answers)
    yield from peers.check_destinations(settings)
    yield from peers.check_archives(settings)
    if not try_out:
        return
    from scarnode.doctor import selftest

    broken = next((one for one in (ledger, weights, device) if one.state == "fail"), None)
    if broken is not None:
        yield warning("self-test", "not tried", f"First see to: {broken.what}")
    elif not here:
        yield from selftest.in_process(settings)
    elif ledger.state != "ok":
        yield warning("self-test", "not tried: the node that runs is of another version", "Restart the node")
    else:
        yield from selftest.through_node(settings, progress)
