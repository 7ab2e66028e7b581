"""Stands on PYTHONPATH of a node under test: makes its worker processes die of a stack whose description says how.

In the worker's process only; the node itself imports nothing of this.
"""

import sys

if "scarnode.node.worker_process" in sys.orig_argv:
    import ctypes
    import os
    import signal
    import socket
    import stat
    import struct
    import time
    from pathlib import Path

    import scarnode.pipeline.analyse as room

    real = room.analyse
    spoilt: list = []

    def sockets():
        """Give this process's end of the line to the node."""
        for number in range(3, 1024):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    yield socket.socket(fileno=os.dup(number))
            except OSError:
                continue

    def crash():
        ctypes.string_at(0)

    def take_all_memory():
        while True:
            spoilt.append(b"x" * (256 << 20))

    def loop():
        while True:
            pass

    def hang_in_c():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            ctypes.CDLL(None).signal(number, 1)  # SIG_IGN
        while True:
            ctypes.CDLL(None).pause()

    def stop():
        os.kill(os.getpid(), signal.SIGSTOP)

    def take_all_files():
        while True:
            spoilt.append(os.open("/dev/null", os.O_RDONLY))

    def write_garbage():
        for line in sockets():
            line.sendall(b"\x80\x04\x95garbage\n{}\n")
        time.sleep(60)

    def write_half_an_answer():
        for line in sockets():
            line.sendall(struct.pack(">Q", 1000) + b'{"job": 1, ')
        time.sleep(3600)

    def answer_for_another():
        answer = b'{"job": 4711, "attempt": 1, "failure": {"why": "not mine", "permanent": true}}'
        for line in sockets():
            line.sendall(struct.pack(">Q", len(answer)) + answer)
        time.sleep(3600)

    def hang_up():
        for line in sockets():
            line.shutdown(socket.SHUT_RDWR)
        time.sleep(3600)

    def leave():
        sys.exit(3)

    def be_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    def quote_the_patient():
        raise ValueError("could not convert string to float: 'Doe^Jane 19690720'")

    def analyse(stack, *others):
        for word in stack.description.split():
            name = word.lower().replace("-", "_")
            if word.startswith("poison:"):
                globals()[name.removeprefix("poison:")]()
        return real(stack, *others)

    room.analyse = analyse

    def no_network(*_):
        raise RuntimeError("the GPU has fallen off the bus")

    if os.environ.get("POISON_LOADING") and Path(os.environ["POISON_LOADING"]).exists():
        import scarnode.pipeline.segment.predict

        scarnode.pipeline.segment.predict.Segmenter = no_network
