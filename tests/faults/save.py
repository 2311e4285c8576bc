"""Save a checkpoint beside an older one while the n-th system call fails or kills the process, for every n.

strace makes the faults: the save is the program's own, down to the kernel.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from mtx.checkpoint.training import (
    Progress,
    TrainState,
    delete_checkpoints,
    newest_checkpoint,
    save_checkpoint,
    saved_steps,
)
from mtx.errors import ExitCode, UserError

OLD, NEW = 1, 2
"""Steps of the existing checkpoint and of the one to save, after which the old one is deleted."""

CALLS = ("mkdir", "openat", "write", "fsync", "rename", "unlinkat", "rmdir")
FAULTS = {"KILL": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}


@dataclass(frozen=True, slots=True)
class InjectedSave:
    """Result of a save with a fault in one of its system calls."""

    call: str
    number: int
    """Number of the call among those of this name, from 1."""
    code: int
    """Exit code of the process; -N if signal N killed it."""
    found: int
    """Step from which a training would continue; 0 if there is no checkpoint."""
    is_whole: bool
    """Whether its checkpoint is, byte for byte, the one saved at that step."""


def injected_saves(error: str, every: int = 1) -> Iterator[InjectedSave]:
    """Save once for every `every`-th system call that changes the disk, with the fault `error` of FAULTS in it."""
    with tempfile.TemporaryDirectory() as folder:
        old, both, scratch = (Path(folder, name) for name in ("old", "both", "scratch"))
        save_checkpoint(old, a_training(OLD), {})
        shutil.copytree(old, both)
        new = a_training(NEW)  # here: torch's threads for gradients do not live on in a fork
        save_checkpoint(both, new, {})

        shutil.copytree(old, scratch)
        trace = Path(folder, "trace")
        code = _traced(lambda: _save(scratch, new), "-o", str(trace), "-e", f"trace={','.join(CALLS)}")
        assert (code, saved_steps(scratch)) == (ExitCode.DONE, [NEW])
        made = Counter(line.split("(")[0].split()[-1] for line in trace.read_text().splitlines() if "(" in line)
        places = [(call, number) for call in CALLS for number in range(1, made[call] + 1)]

        for call, number in places[::every]:
            shutil.rmtree(scratch)
            shutil.copytree(old, scratch)
            inject = f"inject={call}:{FAULTS[error]}:when={number}"
            code = _traced(lambda: _save(scratch, new), "-o", os.devnull, "-e", f"trace={call}", "-e", inject)
            newest = newest_checkpoint(scratch)
            found = newest[1]["step"] if newest else 0
            is_whole = newest is not None and _contents(newest[0]) == _contents(both / newest[0].name)
            yield InjectedSave(call, number, code, found, is_whole)


def why_unavailable() -> str | None:
    """Return the reason why faults can't be injected on this machine, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        _traced(lambda: None, "-o", os.devnull)
    except PermissionError as error:
        return str(error)
    return None


def a_training(step: int) -> TrainState:
    """Make a small training at `step`."""
    torch.manual_seed(step)
    model = nn.Linear(20, 20)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(20)).sum().backward()
    optimizer.step()
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False), Progress(step))


def _save(checkpoints: Path, training: TrainState) -> None:
    save_checkpoint(checkpoints, training, {})
    delete_checkpoints(checkpoints, [OLD])


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _traced(work: Callable[[], None], *options: str) -> int:
    """Do `work` in a fork of this process under strace; returns how that ended.

    Raises:
        PermissionError: strace is not allowed to.
    """
    ready, go = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside torch's threads, which are not used
        child = os.fork()
    if child == 0:
        os.close(go)
        _work_when_told(work, ready)
    os.close(ready)
    command = ["strace", "-f", "-p", str(child), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        is_attached = "attached" in first
        os.write(go, b"1" if is_attached else b"0")
        os.close(go)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        tracer.stderr.read()
    if not is_attached:
        raise PermissionError(first.strip())
    return code


def _work_when_told(work: Callable[[], None], ready: int) -> NoReturn:
    anybody, set_tracer = ctypes.c_ulong(-1), 0x59616D61  # linux/prctl.h
    ctypes.CDLL(None).prctl(set_tracer, anybody)
    code = ExitCode.BUG
    try:
        if os.read(ready, 1) == b"1":
            work()
        code = ExitCode.DONE
    except UserError as error:
        code = error.code
    finally:
        os._exit(code)
