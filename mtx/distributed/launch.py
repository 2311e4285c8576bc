"""Launching of ranks by torch's elastic launcher, the one behind `torchrun`. Torch is imported only when needed."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from mtx.errors import ExitCode, UserError
from mtx.system.signals import EXIT_CODES, stop_signals

POLL_SECONDS = 0.1  # Time until the launcher notices that a rank has ended and stops the others
SHUTDOWN_SECONDS = "50"  # Time that ranks have to save and exit once they are asked to; then they are killed
ARGUMENTS = ("-P", "-m", "mtx", "train")  # -P keeps a `mtx` in the current folder from being imported
RUN_ID_PREFIX = "mtx-"  # Prefix of the run ids that `mtx train --devices` gives to torch's launcher
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # Set by torchrun and other launchers


def is_launched() -> bool:
    """Whether a launcher started this process as one of several ranks."""
    return all(name in os.environ for name in VARIABLES)


def is_launched_by_mtx() -> bool:
    """Whether `mtx train --devices` launched this process, rather than torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(RUN_ID_PREFIX)


def is_rank0() -> bool:
    """Whether this process reports to the user: rank 0, or a process that trains alone."""
    return not is_launched() or os.environ["RANK"] == "0"


def check_devices(count: int, name: str) -> None:
    """Check that there are `count` devices of the kind called `name`.

    Raises:
        UserError: this machine has too few GPUs (MACHINE), or `name` is a single GPU (USAGE).
    """
    import torch

    from mtx.system.device import choose_device

    device = choose_device(name)
    if device.index is not None:
        do = "Give cuda: each rank then uses its own GPU."
        raise UserError(ExitCode.USAGE, f"{name} is a single device, not {count}", where="--devices", do=do)
    if device.type == "cuda" and count > torch.cuda.device_count():
        what = f"{count} devices asked for, but this machine has {torch.cuda.device_count()} GPUs"
        raise UserError(ExitCode.MACHINE, what, where="--devices", do="Ask for fewer, or use --device cpu.")


def run_ranks(count: int, arguments: Sequence[str]) -> None:
    """Run `mtx train` with `arguments` as `count` ranks on this machine.

    Raises:
        UserError: a rank was killed (PEER_LOST).
        SystemExit: a rank has reported an error and exited, or a signal stopped all ranks.
    """
    # Imported here: it takes a second, and most trainings never need it.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from mtx.system.parallel import num_threads

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SHUTDOWN_SECONDS)
    os.environ["OMP_NUM_THREADS"] = str(max(1, num_threads() // count))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"{RUN_ID_PREFIX}{uuid.uuid4()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=POLL_SECONDS,
        signals_to_handle=",".join(number.name for number in stop_signals()),
    )
    logging.disable()  # the ranks report everything themselves
    try:
        elastic_launch(config, sys.executable)(*ARGUMENTS, *arguments)
    except ChildFailedError as error:
        _exit_like_first_failure({rank: failure.exitcode for rank, failure in error.failures.items()})
    except SignalException as stop:
        sys.exit(EXIT_CODES[stop.sigval])
    finally:
        logging.disable(logging.NOTSET)


def _exit_like_first_failure(codes: dict[int, int]) -> None:
    """Exit with the code of the first rank that failed for a reason of its own, not because it lost a peer.

    `codes` maps ranks to exit codes in the order in which the ranks ended; ranks ended by the launcher come last. A
    negative code is the signal that killed the rank. Stop signals kill a rank only while it starts or exits.

    Raises:
        UserError: the rank was killed, or the ranks lost each other (PEER_LOST); or a signal stopped it, unreported.
        SystemExit: the rank has reported its error itself.
    """
    rank, code = next(((r, c) for r, c in codes.items() if c != ExitCode.PEER_LOST), (0, int(ExitCode.PEER_LOST)))
    stop = next((stop for number, stop in EXIT_CODES.items() if code in (stop, -number)), None)
    do = "Run the same command to continue from the last checkpoint."
    if stop is not None and (codes.get(0, 0) <= 0 or codes[0] == ExitCode.PEER_LOST):
        raise UserError(stop, f"rank {rank} was stopped by a signal", do=do)
    if stop is not None or (code > 0 and code != ExitCode.PEER_LOST):
        sys.exit(stop or code)
    name = next((each.name for each in signal.Signals if each == -code), f"signal {-code}")
    what = f"rank {rank} was killed by {name}" if code < 0 else "the ranks lost each other"
    raise UserError(ExitCode.PEER_LOST, what, do=do)
