"""Errors for users: each holds what is wrong, where, and what to do about it."""

import errno
import os

OF_THE_FILE = frozenset({errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EOVERFLOW})
"""Errnos whose cause is a file's name, kind or contents. Every other errno is a fault of the machine."""

MISSING = (errno.ENOENT, errno.ENOTDIR)
"""Errnos of an absent file: the file alone, or its disk."""


class ScarnodeError(Exception):
    """Base of every error that scarnode raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence. It may be logged, so it never holds patient data.
    where : str
        The file, section and key, address or UID hash it concerns.
    todo : str
        What the reader can do about it.
    """

    def __init__(self, what: str, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        parts = [f"{where}: {what}" if where else what]
        if todo:
            parts.append(todo)
        super().__init__(" -> ".join(parts))


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, the outermost first: chained, or wrapped."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found


class ConfigError(ScarnodeError):
    """config.ini can not be used as it stands."""


class WeightsError(ScarnodeError):
    """The network's weights are missing or not the ones their card describes."""


class InputError(ScarnodeError):
    """Received or given images can not be used."""


class SystemFaultError(InputError):
    """A fault of the machine while a file was read or written. The input is not at fault, and the fault may pass.

    It is an `InputError`, so that commands report it with the file's name. The node postpones the work instead.

    Parameters
    ----------
    why : str
        The system's own words, e.g. ``Input/output error``.
    where : str
    number : int
        The errno; 0: there was no memory.
    """

    def __init__(self, why: str, where: str = "", number: int = 0) -> None:
        self.why, self.number = why, number
        what = f"UNREADABLE: {why} (the system's fault, not the file's)"
        super().__init__(what, where, "Correct the disk, its permissions or the limit, then try again")

    @property
    def missing(self) -> bool:
        """Return whether the file was absent: the only fault here whose cause can be the file itself."""
        return self.number in MISSING


def system_fault(error: BaseException, where: str = "") -> SystemFaultError | None:
    """Return the fault of the machine behind an error: an OSError with an errno of the system, or no memory.

    pydicom and Python's readers raise an OSError without an errno for damaged contents: no fault of the machine.

    Parameters
    ----------
    error : BaseException
        Its causes (``raise ... from``) are checked too.
    where : str
        What it concerns.
    """
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, SystemFaultError):
            return one
        if isinstance(one, MemoryError):
            return SystemFaultError("no memory", where)
        if isinstance(one, OSError) and one.errno is not None and one.errno not in OF_THE_FILE:
            return SystemFaultError(os.strerror(one.errno), where, one.errno)
        one = one.__cause__
    return None


def raise_system_fault(error: BaseException, where: str = "") -> None:
    """Raise the result of `system_fault`, if there is one. Call it first in a handler that reports a faulty file."""
    fault = system_fault(error, where)
    if fault is not None:
        raise fault from error


def name_of(error: Exception) -> str:
    """Return an error's name. An OSError without an errno is pydicom's, for a file that ends too early."""
    return "EndOfData" if type(error) is OSError and error.errno is None else type(error).__name__


class SpoolError(ScarnodeError):
    """The spool can not be written or read."""


class LedgerError(ScarnodeError):
    """The job database can not be opened, or refuses a change of state."""


class AuditError(ScarnodeError):
    """An audit message can not be kept."""
