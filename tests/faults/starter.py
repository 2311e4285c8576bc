"""Starts `mtx` hundreds of times without importing torch as often.

A separate process imports all of mtx. For each start it forks a child, which continues as the `mtx` command in a new
session. The ranks of `mtx train --devices` are forked, too: torch's launcher gets processes that wait for their rank.
"""

import gc
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
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from tests.faults.process import Running, Start

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 131072

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
"""Limits to one thread during imports, because a process with several can't be forked safely. Idle threads of children
sleep: spinning would take hours of CPU time from others."""

IMPORTED_LATER = (
    "sacrebleu",
    "sentencepiece",
    "torch._dynamo",
    "torch.distributed.elastic.multiprocessing",
    "torch.distributed.fsdp",
    "torch.distributed.launcher.api",
    "torch.nn.parallel",
    "tqdm.contrib.logging",
)
"""Modules that mtx or torch imports lazily; imported before forking, because torch._dynamo takes seconds."""

EXECUTABLE = """#!{python} -ES
import json, os, signal, socket, sys

connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect({address!r})
start = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(connection, [json.dumps(start).encode()], [0, 1, 2])
connection.recv(100)
for stream in range(3):
    os.close(stream)  # only the command holds them, so that pipes end with it
code = os.waitstatus_to_exitcode(int(connection.recv(100)))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class Starter:
    """Process that forks `mtx` commands; a context manager."""

    def __enter__(self) -> Self:
        self._place = tempfile.TemporaryDirectory(prefix="mtx-")  # addresses of sockets are short
        self._address = f"{self._place.name}/socket"
        self.executable = Path(self._place.name, "mtx")
        """A program that does what `mtx` does, through this starter; it passes no signals on."""
        self.executable.write_text(EXECUTABLE.format(python=sys.executable, address=self._address))
        self.executable.chmod(0o755)
        # Each message arrives whole.
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(self._address)
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.starter", str(listening.fileno())],
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
                pass_fds=[listening.fileno()], stdin=subprocess.PIPE,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._place.cleanup()

    def start(self, start: Start) -> Running:
        """Start a command."""
        self._last = connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._address)
        environment = {**os.environ, **ENVIRONMENT, **start.environment}
        request = {**asdict(start), "folder": str(start.folder), "environment": environment}
        connection.send(json.dumps({**request, "printed": [str(path) for path in start.printed]}).encode())
        codes: list[int] = []

        def status(seconds: float) -> int | None:
            if not codes and select.select([connection], [], [], seconds)[0]:
                codes.append(os.waitstatus_to_exitcode(_receive(connection)))
                connection.close()
            return codes[0] if codes else None

        return Running(_receive(connection), start, status)

    def release(self) -> None:
        """Release the command started last, which is held."""
        self._last.send(b"go")


def _receive(connection: socket.socket) -> int:
    message = connection.recv(LONGEST_MESSAGE)
    assert message, "the starter has ended"
    return int(message)


def serve(listening: socket.socket) -> None:
    """Fork a child for each connection, until stdin ends; returns only in the children."""
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        connection = listening.accept()[0]
        if not os.fork():
            listening.close()
            _keep(connection)
            return
        connection.close()
        _reap()
    _reap()
    sys.exit()


def _reap() -> None:
    """Forget the children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _keep(connection: socket.socket) -> None:
    """Fork the command, tell its process id once it is set up, then its exit status; returns only in the command."""
    message, streams, _, _ = socket.recv_fds(connection, LONGEST_MESSAGE, 3)
    set_up, setting_up = os.pipe()
    pid = os.fork()
    if not pid:
        _become(json.loads(message), streams, connection)
        return
    for stream in (*streams, setting_up):
        os.close(stream)
    os.read(set_up, 1)  # returns once the command has closed its end: no signal comes before it is set up
    connection.send(str(pid).encode())
    status = os.waitpid(pid, 0)[1]
    try:
        connection.send(str(status).encode())
    finally:
        os._exit(0)


def _become(start: dict[str, Any], streams: Sequence[int], connection: socket.socket) -> None:
    """Set up this process as a shell would have started it."""
    os.setsid()
    os.chdir(start["folder"])
    _replace_environment(start["environment"])
    if streams:
        places = list(streams)
    elif start["terminal"]:
        terminal = os.open(start["terminal"], os.O_RDWR)  # that of the session, since it has none
        places = [terminal] * 3
    else:
        places = [os.open(os.devnull, os.O_RDONLY)]
        places += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) for path in start["printed"]]
    for number, (name, place) in enumerate(zip(("stdin", "stdout", "stderr"), places, strict=True)):
        os.dup2(place, number)
        # As Python finds them at a start of its own: what it had may have been a file where there is a terminal now.
        buffering = 1 if name == "stderr" else -1
        setattr(sys, name, open(number, "w" if number else "r", buffering, closefd=False))  # noqa: SIM115
    for number in start.get("ignored", ()):
        signal.signal(number, signal.SIG_IGN)
    if start.get("file_size") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (start["file_size"], resource.RLIM_INFINITY))
    os.closerange(3, connection.fileno())
    os.closerange(connection.fileno() + 1, 256)
    if start.get("is_held"):
        connection.recv(LONGEST_MESSAGE)
    connection.close()
    sys.argv = ["mtx", *start["arguments"]]
    counts = [int(word.removeprefix("--devices=")) for word in sys.argv if word.startswith("--devices=")]
    if counts and "RANK" not in os.environ:
        _fork_ranks(counts[0])


def _replace_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _fork_ranks(count: int) -> None:
    """Fork children that wait to become ranks of this launcher; returns in the launcher and in each rank.

    They are forked now, because later the launcher has threads. The name of each process is then that of its rank.
    """
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    waiting: list[tuple[int, socket.socket]] = []
    for _ in range(count):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            for connection in (ours, *(other for _, other in waiting)):
                connection.close()
            os.setsid()
            message = theirs.recv(LONGEST_MESSAGE)
            theirs.close()
            if not message:  # the launcher has ended and needed no ranks
                os._exit(0)
            sys.argv, environment = json.loads(message)
            _replace_environment(environment)
            Path("/proc/self/comm").write_text(f"rank {environment['RANK']}")
            return
        theirs.close()
        waiting.append((pid, ours))

    class Rank:
        """Stands for the `Popen` of a rank."""

        def __init__(self, args: Sequence[str], env: Mapping[str, str], **_: object) -> None:
            self.args = args
            self.returncode: int | None = None
            self.pid, connection = waiting.pop(0)
            connection.send(json.dumps([args[args.index("mtx") :], dict(env)]).encode())
            connection.close()

        def poll(self) -> int | None:
            """The exit code, if it has ended."""
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

        def wait(self, timeout: float = float("inf")) -> int:
            """Wait for its end."""
            until = time.monotonic() + timeout
            while (code := self.poll()) is None:
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(list(self.args), timeout)
                time.sleep(0.01)
            return code

    subprocess_handler.Popen = Rank  # type: ignore[misc, assignment]


def _prepare() -> None:
    """Import all of mtx, and measure what each training measures: the children then have it."""
    import torch

    import mtx

    for module in pkgutil.walk_packages(mtx.__path__, "mtx."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in IMPORTED_LATER:
        importlib.import_module(name)
    from mtx.system.device import choose_precision
    from mtx.train.flops import matrix_rate

    matrix_rate(choose_precision("fp32", torch.device("cpu")))
    assert len(os.listdir("/proc/self/task")) == 1, "a thread has been started"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C before the command begins kills it, without a traceback
    _prepare()
    gc.freeze()  # else the end of each child would collect, and so copy, all that is imported here
    serve(socket.socket(fileno=int(sys.argv[1])))
    from mtx.cli import main

    # What follows, up to the end of the interpreter, is the child as the `mtx` command.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
