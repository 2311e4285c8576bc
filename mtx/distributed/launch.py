"""Several ranks on this machine, started and watched by torch's elastic launcher, the one behind `torchrun`."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

import torch

from mtx.distributed.process_group import RUN_PREFIX
from mtx.errors import ExitCode, UserError
from mtx.system.device import choose_device
from mtx.system.parallel import num_threads
from mtx.system.signals import EXIT_CODES, stops

SECONDS_BETWEEN_LOOKS = 0.1
"""How soon the end of one rank ends the others."""

SECONDS_TO_END = "50"
"""What ranks have to save in and to end, once they are asked to, before they are killed."""

ARGUMENTS = ("-P", "-m", "mtx", "train")
"""To python; -P: what lies in the current folder is not mtx, whatever its name."""


def check_devices(count: int, name: str) -> None:
    """Make sure that there are `count` devices of the kind called `name`.

    Raises:
        UserError: there are not so many GPUs (MACHINE), or `name` is that of a single one (USAGE).
    """
    device = choose_device(name)
    if device.index is not None:
        do = "Give cuda, of which each rank takes its own."
        raise UserError(ExitCode.USAGE, f"{name} is one device, and {count} are asked for", where="--devices", do=do)
    if device.type == "cuda" and count > torch.cuda.device_count():
        what = f"{count} devices asked for, this machine has {torch.cuda.device_count()} GPUs"
        raise UserError(ExitCode.MACHINE, what, where="--devices", do="Ask for fewer, or use --device cpu.")


def run_ranks(count: int, arguments: Sequence[str]) -> None:
    """Run `mtx train` with `arguments` as `count` ranks on this machine.

    Raises:
        UserError: a rank was killed (PEER_LOST).
        SystemExit: a rank has ended with an error and told it, or all were stopped by a signal.
    """
    # Imported late: a second, for what most trainings never need.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SECONDS_TO_END)
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
    """End as the rank did that was the first to fail for a reason of its own, each rank with its code.

    `codes` are in the order in which the ranks ended; those that the launcher has then ended are the last. A negative
    code is the signal that killed a rank. A signal to stop kills a rank that is still starting, or is leaving already.

    Raises:
        UserError: it was killed, or they lost one another (PEER_LOST); or it was stopped by a signal (its code), and
            rank 0 was not there to report that.
        SystemExit: it has reported its error.
    """
    rank, code = next(((r, c) for r, c in codes.items() if c != ExitCode.PEER_LOST), (0, int(ExitCode.PEER_LOST)))
    stop = next((stop for number, stop in EXIT_CODES.items() if code in (stop, -number)), None)
    if stop is not None and (codes.get(0, 0) <= 0 or codes[0] == ExitCode.PEER_LOST):
        what = f"rank {rank} was stopped by a signal"
        raise UserError(stop, what, do="Run the same command to go on from the last checkpoint.")
    if stop is not None or (code > 0 and code != ExitCode.PEER_LOST):
        sys.exit(stop or code)
    what = f"rank {rank} was killed by {_name(-code)}" if code < 0 else "the ranks lost one another"
    raise UserError(ExitCode.PEER_LOST, what, do="Run the same command to go on from the last checkpoint.")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
