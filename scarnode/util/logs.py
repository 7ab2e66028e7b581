"""The log of a process. It never holds patient data, also where a library quotes values."""

from __future__ import annotations

import copy
import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)


class FramesOnly(logging.Formatter):
    """Formats an exception as its type and traceback, without its text, which may quote a header's values.

    A message is always one line, so that no value from a peer can forge another line of the log.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the log line. An exception as the message (``log.exception(error)``) becomes its type."""
        if isinstance(record.msg, BaseException):
            record = copy.copy(record)
            record.msg, record.args = type(record.msg).__name__, None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Return the message with its control characters replaced."""
        record.message = "".join(c if c.isprintable() else "?" for c in record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's own name)
        """Return the frames of a traceback and the exception's type."""
        kind, _, trace = ei
        return "".join(traceback.format_tb(trace)) + kind.__name__


def keep_quiet_about_patients() -> None:
    """Silence loggers and warnings that quote header values or whole datasets: these are patient data."""
    warnings.simplefilter("ignore")  # pydicom's warnings hold the value, and name the calling module
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("pynetdicom", "alembic", "httpx2", "httpcore2", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_to_stderr(level: str) -> None:
    """Set up this process's log. Uncaught exceptions are logged too, without their text."""
    keep_quiet_about_patients()
    handler = logging.StreamHandler()
    handler.setFormatter(FramesOnly("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    sys.excepthook = log_uncaught
    threading.excepthook = lambda dead: log_uncaught(dead.exc_type, dead.exc_value, dead.exc_traceback)
    sys.unraisablehook = lambda lost: log_uncaught(lost.exc_type, lost.exc_value, lost.exc_traceback)


def log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log an exception that ended a thread (pynetdicom's, on some broken messages) as `FramesOnly` formats it.

    Python itself would write its text to standard error, with whatever it quotes.
    """
    if error is not None and not isinstance(error, SystemExit):
        log.error("uncaught exception; its thread ended", exc_info=(kind, error, trace))
