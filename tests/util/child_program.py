"""What `tests.util.test_child` runs: does as it is asked."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

from scarnode.util.child import serve_parent

if __name__ == "__main__":
    parent = serve_parent(1 << 24)
    raw = socket.socket(fileno=os.dup(int(sys.argv[1])))
    while True:
        word, _, rest = parent.receive().partition(b" ")
        if word == b"echo":
            parent.send(rest)
        elif word == b"exit":
            sys.exit(3)
        elif word == b"crash":
            ctypes.string_at(0)
        elif word == b"killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == b"stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif word == b"hang_up":
            raw.shutdown(socket.SHUT_RDWR)
            time.sleep(60)
        elif word == b"half":
            raw.sendall(bytes([0, 0, 0, 0, 0, 0, 0, 9]) + b"half")
            time.sleep(60)
        elif word == b"nonsense":
            raw.sendall(b"nonsense\n")
            time.sleep(60)
        elif word == b"start":
            other = subprocess.Popen(["sleep", "60"])
            parent.send(str(other.pid).encode())
        else:
            time.sleep(60)
