"""Child process in which `test_hostile` calls mtx. Once warm, it may only read the case's folder and write a run.

Reads cases from stdin as JSON, and prints one JSON object per case. Python's audit hook sees every file, process,
connection, import and piece of code before it is used. A signal ends a case that hangs.
"""

import io
import json
import os
import resource
import signal
import sys
from typing import Any

from mtx.cli import main

ADDRESSES = 1 << 30
"""Bytes of address space that may be added after the warm-up; C libraries map much more than they use."""
SECONDS = 60
FORBIDDEN = (
    "socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "pty.", "import",
    "compile", "exec", "pickle.", "marshal.load", "code.", "ctypes.dlopen", "os.rename", "os.link", "os.symlink",
    "os.chmod", "os.chown", "os.truncate", "os.utime", "shutil.", "tempfile.", "urllib.", "http.",
)  # fmt: skip
OWN_SIZE = "/proc/self/statm"
"""Memory statistics of this process, which it may always read."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

allowed_folder = ""
offences: list[str] = []


def is_run_folder(path: Any) -> bool:
    """Whether `path` is the --run-dir of the case, or in it; a training may write there."""
    return not isinstance(path, int) and os.path.realpath(os.fsdecode(path)).startswith(f"{allowed_folder}/run")


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: record and refuse everything that reading a folder does not need."""
    if not allowed_folder:
        return
    if event == "open":
        path, _, flags = arguments
        is_inside = isinstance(path, int) or f"{os.path.realpath(os.fsdecode(path))}/".startswith(f"{allowed_folder}/")
        is_own_size = path == OWN_SIZE and not (flags or 0) & WRITES
        is_offence = not (is_inside or is_own_size) or (bool((flags or 0) & WRITES) and not is_run_folder(path))
    elif event in ("os.mkdir", "os.rmdir", "os.remove"):
        is_offence = not is_run_folder(arguments[0])
    else:
        is_offence = event.startswith(FORBIDDEN) and (event, arguments) != ("ctypes.dlopen", (None,))
    if is_offence:
        offences.append(f"{event} {arguments}"[:200])
        raise PermissionError(f"forbidden here: {event}")


def call_mtx(arguments: list[str]) -> dict[str, Any]:
    """Call `mtx ARGUMENTS…`; return its exit code and output."""
    sys.argv = ["mtx", *arguments]
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    try:
        main()
    except SystemExit as ended:
        out = sys.stdout.buffer.getvalue().decode()
        return {"code": ended.code or 0, "out": out, "err": sys.stderr.getvalue()}
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return {"code": None}


def count_calls(arguments: list[str]) -> dict[str, Any]:
    """Call `mtx ARGUMENTS…`; also return the number of function calls that it takes."""
    num_calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal num_calls
        num_calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        answer = call_mtx(arguments)
    finally:
        sys.setprofile(None)
    return {**answer, "calls": num_calls}


def run() -> None:
    """Warm up, then run all cases within limits of time and memory."""
    global allowed_folder
    given = json.load(sys.stdin)
    for arguments in given["warm_up"]:
        call_mtx(arguments)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(OWN_SIZE) as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESSES, resource.RLIM_INFINITY))
    sys.addaudithook(watch)
    for case in given["cases"]:
        offences.clear()
        signal.alarm(SECONDS)
        allowed_folder = case["folder"]
        answer = (count_calls if case["counts"] else call_mtx)(case["arguments"])
        allowed_folder = ""
        signal.alarm(0)
        print(json.dumps({"name": case["name"], "offences": offences, **answer}), flush=True)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    print(json.dumps({"name": "memory", "taken": taken}))


if __name__ == "__main__":
    run()
