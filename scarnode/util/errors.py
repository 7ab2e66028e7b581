"""Errors meant for people: each says what is wrong, where, and what to do about it."""

import errno
import os

OF_THE_FILE = frozenset({errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EOVERFLOW})
"""What the system answers because of a file's own name, kind or bytes. Every other errno is a fault of the machine."""

MISSING = (errno.ENOENT, errno.ENOTDIR)
"""The file is not there: alone, or with the disk that it lies on."""


class ScarnodeError(Exception):
    """Base of every error that scarnode raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence. Never holds patient data: it may end up in a log.
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

    def __reduce__(self) -> tuple:
        """Survive the way back from a worker process."""
        return type(self), (self.what, self.where, self.todo)


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and those it was made from: chained, or wrapped as urllib3 does it, the outermost first."""
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
    """The machine could not read, write or hold something. It is no fault of the input, and it may pass.

    A kind of `InputError`, so that whoever reads files for a person says it of the file. A node puts off what met it.

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
        super().__init__(what, where, "Mend the disk, its rights or the limit that is meant, then try again")

    def __reduce__(self) -> tuple:
        """Survive the way back from a worker process."""
        return type(self), (self.why, self.where, self.number)

    @property
    def missing(self) -> bool:
        """Return whether the file was not there: the one fault of the system that may be the file's after all."""
        return self.number in MISSING


def system_fault(error: BaseException, where: str = "") -> SystemFaultError | None:
    """Return whether an error is the machine's: an OSError with an errno of the system, or no memory.

    pydicom, and Python's own readers, raise OSErrors without an errno for what they do not find in the bytes.

    Parameters
    ----------
    error : BaseException
        Those that it was made from (``raise ... from``) are looked at too.
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
    """Raise what `system_fault` gives, if it does: the first line of a handler that blames a file."""
    fault = system_fault(error, where)
    if fault is not None:
        raise fault from error


def name_of(error: Exception) -> str:
    """Name an error in a word; an OSError without an errno is pydicom's, for bytes that end too early."""
    return "EndOfData" if type(error) is OSError and error.errno is None else type(error).__name__


class SpoolError(ScarnodeError):
    """The spool can not be written or read."""


class LedgerError(ScarnodeError):
    """The job database can not be opened, or refuses a change of state."""


class AuditError(ScarnodeError):
    """An audit message can not be kept."""
