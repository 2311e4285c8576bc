"""Starts `mtx` hundreds of times without importing torch as often.

A separate process imports all of mtx. For each start it forks a child, which continues as the `mtx` command in a new
session. Each starter runs one child at a time.
"""

import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from tests.faults.process import Running, Start

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 65536

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
"""Limits to one thread during imports, because a process with several can't be forked safely. Idle threads of children
sleep: spinning would take hours of CPU time from others."""

IMPORTED_LATER = ("sacrebleu", "sentencepiece", "torch._dynamo", "tqdm.contrib.logging")
"""Modules that mtx or torch imports lazily; imported before forking, because torch._dynamo takes seconds."""


class Starter:
    """Process that forks `mtx` commands; a context manager."""

    def __enter__(self) -> Self:
        # Each message arrives whole.
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.starter", str(theirs.fileno())],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait()

    def start(self, start: Start) -> Running:
        """Start a command; the previous one must have ended."""
        request = {**asdict(start), "folder": str(start.folder), "printed": [str(path) for path in start.printed]}
        self._socket.send(json.dumps(request).encode())
        codes: list[int] = []

        def status(seconds: float) -> int | None:
            if not codes and select.select([self._socket], [], [], seconds)[0]:
                codes.append(os.waitstatus_to_exitcode(self._receive()))
            return codes[0] if codes else None

        return Running(self._receive(), start, status)

    def release(self) -> None:
        """Release a held command."""
        self._socket.send(b"go")

    def _receive(self) -> int:
        message = self._socket.recv(LONGEST_MESSAGE)
        assert message, "the starter has ended"
        return int(message)


def serve(requests: socket.socket) -> None:
    """Fork a child for each request and wait for it; returns in the children, and without requests never."""
    while message := requests.recv(LONGEST_MESSAGE):
        pid = os.fork()
        if not pid:
            _become(json.loads(message), requests)
            return
        requests.send(str(pid).encode())
        requests.send(str(os.waitpid(pid, 0)[1]).encode())
    sys.exit()


def _become(start: dict[str, Any], requests: socket.socket) -> None:
    """Set up this process as a shell would have started it."""
    os.setsid()
    os.chdir(start["folder"])
    os.environ.update(start["environment"])
    if start["terminal"]:
        terminal = os.open(start["terminal"], os.O_RDWR)  # that of the session, since it has none
        places = [terminal] * 3
    else:
        places = [os.open(os.devnull, os.O_RDONLY)]
        places += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) for path in start["printed"]]
    for number, (name, place) in enumerate(zip(("stdin", "stdout", "stderr"), places, strict=True)):
        os.dup2(place, number)
        # As Python finds them at a start of its own: what it had may have been a file where there is a terminal now.
        setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    os.closerange(3, requests.fileno())
    os.closerange(requests.fileno() + 1, 256)
    for number in start["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    if start["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (start["file_size"], resource.RLIM_INFINITY))
    if start["is_held"]:
        requests.recv(LONGEST_MESSAGE)
    requests.close()
    sys.argv = ["mtx", *start["arguments"]]


def _import_all_of_mtx() -> None:
    import mtx

    for module in pkgutil.walk_packages(mtx.__path__, "mtx."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in IMPORTED_LATER:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "an import has started a thread"


if __name__ == "__main__":
    _import_all_of_mtx()
    serve(socket.socket(fileno=int(sys.argv[1])))
    from mtx.cli import main

    # What follows, up to the end of the interpreter, is the child as the `mtx` command.
    main()
