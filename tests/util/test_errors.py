"""Whose fault an error is: the machine's, which may pass, or the file's."""

from __future__ import annotations

import errno

import pytest

from scarnode.util.errors import InputError, SystemFaultError, system_fault

MACHINE = ["EIO", "EMFILE", "ENFILE", "ESTALE", "EACCES", "EPERM", "ENOMEM", "ENOSPC", "EDQUOT", "EROFS", "ENOTCONN"]
MACHINE += ["ETIMEDOUT", "ENOENT", "ENOTDIR", "EHOSTDOWN", "EREMOTEIO", "ENODEV", "ENXIO", "EAGAIN", "EINTR", "EBADF"]


@pytest.mark.parametrize("name", MACHINE)
def test_an_errno_of_the_system_is_the_machines_fault(name):
    number = getattr(errno, name)
    fault = system_fault(OSError(number, "whatever the caller wrote"), "one.dcm")
    assert fault is not None
    assert fault.number == number
    assert fault.missing == (name in ("ENOENT", "ENOTDIR"))
    assert "the system's fault, not the file's" in str(fault)
    assert str(fault).startswith("one.dcm: UNREADABLE: ")


@pytest.mark.parametrize("name", ["EISDIR", "ENAMETOOLONG", "ELOOP", "EINVAL"])
def test_what_the_file_is_or_is_called_is_its_own(name):
    assert system_fault(OSError(getattr(errno, name), "...")) is None


def test_no_memory_is_the_machines_and_a_parsers_complaint_is_the_files():
    assert system_fault(MemoryError()).number == 0
    for error in (OSError("pydicom: no delimiter"), EOFError(), ValueError("x"), InputError("DAMAGED_HEADER: x")):
        assert system_fault(error) is None


def test_it_is_seen_through_what_was_made_of_it():
    try:
        try:
            raise OSError(errno.EIO, "...")
        except OSError as error:
            raise RuntimeError("the library's words") from error
    except RuntimeError as wrapped:
        fault = system_fault(wrapped, "there")
    assert isinstance(fault, SystemFaultError)
    assert (fault.number, fault.where) == (errno.EIO, "there")
