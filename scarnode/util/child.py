"""Child processes, for work that may crash, hang or ask for all memory: the parent learns how each one ended.

Both ends send messages over a socket pair: eight bytes of length, then the message. What a message holds is up to the
two programs. It is never a pickle: a child decodes images from outside with code in C, and nothing it sends may run in
its parent.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress

LONGEST = 64 << 20
"""Bytes of one message where nothing else is said; a job of 20 000 frames has 6 MB."""

_LENGTH = struct.Struct(">Q")
_PIECE = 1 << 20
_KILL_SECONDS = 10.0


class ChildEndedError(Exception):
    """The child ended before it answered; the text says how, e.g. ``exit code 3``."""


class MessageError(Exception):
    """What came is no message."""


class MessageSocket:
    """One end of the line between parent and child.

    Parameters
    ----------
    connection : socket.socket
    longest : int
        Bytes above which a message is refused.
    """

    def __init__(self, connection: socket.socket, longest: int = LONGEST) -> None:
        self._socket, self._longest = connection, longest

    def send(self, message: bytes, seconds: float | None = None) -> None:
        """Send a message.

        Raises
        ------
        OSError
            The other end is gone, or did not read in time (TimeoutError).
        """
        self._socket.settimeout(seconds)
        self._socket.sendall(_LENGTH.pack(len(message)) + message)

    def receive(self, seconds: float | None = None) -> bytes:
        """Wait for a message; without a number of seconds for ever.

        Raises
        ------
        TimeoutError
            It did not come in time, or not all of it.
        EOFError
            The other end is gone.
        MessageError
            It is too long.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size, deadline))
        if length > self._longest:
            raise MessageError
        return self._take(length, deadline)

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds for a message; return whether one has come."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _take(self, length: int, deadline: float | None) -> bytes:
        taken = bytearray()  # grows with what comes: a length alone takes no memory
        while len(taken) < length:
            self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-6))
            piece = self._socket.recv(min(_PIECE, length - len(taken)))
            if not piece:
                raise EOFError
            taken += piece
        return bytes(taken)


class ChildProcess:
    """A Python process that runs a module and answers messages; it ends when this process ends, however that happens.

    The module calls `serve_parent` first. It has a session of its own, so Ctrl-C in a terminal reaches the parent
    alone. It has no standard input, and what it prints to standard output is dropped.

    Parameters
    ----------
    module : str
        Run as ``python -m module``.
    longest : int
        Bytes of the longest message.
    quiet : bool
        Drop standard error too.

    Raises
    ------
    OSError
        The process can not be started.
    """

    def __init__(self, module: str, longest: int = LONGEST, quiet: bool = False) -> None:
        ours, theirs = socket.socketpair()
        # It finds the modules that this process finds, but takes nothing in the working directory for one.
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), *sys.path]))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if quiet else None,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()  # so that a dead process reads as end of file
        self._messages = MessageSocket(ours, longest)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def request(self, message: bytes, seconds: float) -> bytes:
        """Send a message and wait for the answer.

        Raises
        ------
        TimeoutError
            The answer is not there after so many seconds; the process was killed.
        ChildEndedError
            The process ended.
        MessageError
            What came is no message; the process was killed.
        """
        deadline = time.monotonic() + seconds
        try:
            self._messages.send(message, seconds)
        except TimeoutError:
            self.kill()
            raise
        except OSError:  # it died while idle: `receive` says how
            pass
        return self.receive(max(deadline - time.monotonic(), 0.0))

    def receive(self, seconds: float) -> bytes:
        """Wait for a further answer; raises as `request` does."""
        try:
            return self._messages.receive(seconds)
        except (TimeoutError, MessageError):
            self.kill()
            raise
        except (EOFError, OSError):
            raise ChildEndedError(self._how_it_ended()) from None

    def kill(self) -> None:
        """End it at once, and what it started in its session; safe from another thread and more than once."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, e.g. on a disk that is away
                self._process.wait(_KILL_SECONDS)

    def close(self) -> None:
        """End it and give back what belongs to it here; not for use while another thread waits for an answer."""
        self.kill()
        self._messages.close()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(2)
        except subprocess.TimeoutExpired:  # it closed its end and lives on
            self.kill()
            return "it hung up"
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        known = {
            "SIGKILL": "by hand, or by the kernel for want of memory",
            "SIGTERM": "by hand",
            "SIGXCPU": "it took too much of the processor's time",
        }
        return f"signal {name}: {known.get(name, 'a crash in native code')}"


def serve_parent(longest: int = LONGEST) -> MessageSocket:
    """Return the line to the parent of a process that `ChildProcess` started.

    From now on this process ends, in the middle of its work, when its parent is gone: nobody waits for what it makes,
    and whoever takes up the work starts a process of its own.
    """
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    threading.Thread(target=_end_with_the_parent, args=[connection.fileno()], name="parent", daemon=True).start()
    return MessageSocket(connection, longest)


def _end_with_the_parent(descriptor: int) -> None:
    watch = select.poll()
    watch.register(descriptor, getattr(select, "POLLRDHUP", 0))  # POLLHUP is always told
    watch.poll()
    os._exit(1)
