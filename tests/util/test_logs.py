"""What stands in the node's log: lines that nobody outside can forge, and no text of an exception."""

import io
import logging
import threading

import pytest

from scarnode.util.logs import FramesOnly, log_uncaught


@pytest.fixture
def written():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(FramesOnly("%(levelname)s %(message)s"))
    log = logging.getLogger("scarnode")
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


def test_a_peer_can_not_write_a_line_of_its_own(written):
    logging.getLogger("scarnode.some").error("Invalid AE title %s", "X\n2026-01-01 INFO all is well\x1b[2J")
    assert written.getvalue() == "ERROR Invalid AE title X?2026-01-01 INFO all is well?[2J\n"


def test_a_thread_that_dies_is_logged_without_what_its_error_quotes(written, monkeypatch):
    monkeypatch.setattr(
        threading, "excepthook", lambda dead: log_uncaught(dead.exc_type, dead.exc_value, dead.exc_traceback)
    )

    def die():
        raise ValueError("".join(["Sec", "ret^Patient"]))

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    assert "ValueError" in written.getvalue()
    assert "in die" in written.getvalue()
    assert "Secret" not in written.getvalue()


def test_an_exception_that_is_itself_the_message_is_told_by_its_type(written):
    """pynetdicom logs so: LOGGER.exception(error)."""
    error = ValueError("Secret" + "^Patient")
    try:
        raise error
    except ValueError:
        logging.getLogger("scarnode.some").exception(error)
    assert written.getvalue().startswith("ERROR ValueError\n")
    assert "Secret" not in written.getvalue()
