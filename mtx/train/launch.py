"""Several ranks on this machine, started and watched by torch's elastic launcher, the one behind `torchrun`."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

import torch

from mtx.errors import ExitCode, UserError
from mtx.ranks import RUN_PREFIX
from mtx.runtime import choose_device
from mtx.signals import EXIT_CODES, stops
from mtx.workers import num_threads

SECONDS_BETWEEN_LOOKS = 0.1
"""How soon the end of one rank ends the others."""

ARGUMENTS = ("-P", "-m", "mtx", "train")
"""To python; -P: what lies in the current folder is not mtx, whatever its name."""


def run_ranks(count: int, device: str, arguments: Sequence[str]) -> None:
    """Run `mtx train` with `arguments` as `count` ranks on this machine, on GPUs if `device` stands for one.

    Raises:
        UserError: there are not so many GPUs (MACHINE), or a rank was killed (PEER_LOST).
        SystemExit: a rank has ended with an error and told it, or all were stopped by a signal.
    """
    # Imported late: a second, for what most trainings never need.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if choose_device(device).type == "cuda" and count > torch.cuda.device_count():
        what = f"{count} devices asked for, this machine has {torch.cuda.device_count()} GPUs"
        raise UserError(ExitCode.MACHINE, what, where="--devices", do="Ask for fewer, or use --device cpu.")
    os.environ["OMP_NUM_THREADS"] = str(max(1, num_threads() // count))
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"{RUN_PREFIX}{uuid.uuid4()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=SECONDS_BETWEEN_LOOKS,
        signals_to_handle=",".join(number.name for number in stops()),
    )
    logging.disable()  # the ranks say what there is to say
    try:
        elastic_launch(launch, sys.executable)(*ARGUMENTS, *arguments)
    except ChildFailedError as error:
        _end_like({rank: failure.exitcode for rank, failure in error.failures.items()})
    except SignalException as stop:
        sys.exit(EXIT_CODES[stop.sigval])
    finally:
        logging.disable(logging.NOTSET)


def _end_like(codes: dict[int, int]) -> None:
    """End as the ranks that failed did, each with its code: a negative one is the signal that killed it.

    Raises:
        UserError: one was killed, or lost another (PEER_LOST).
        SystemExit: one has told its error.
    """
    told = [code for code in codes.values() if code > 0 and code != ExitCode.PEER_LOST]
    if told:
        sys.exit(told[0])
    killed = [f"rank {rank} was killed by {_name(-code)}" for rank, code in codes.items() if code < 0]
    what = killed[0] if killed else "the ranks lost one another"
    raise UserError(ExitCode.PEER_LOST, what, do="Run the same command to go on from the last checkpoint.")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
