"""The process group: the ranks that train together, started by torch's launcher.

Ranks exchange data through gloo on the CPU and through NCCL on GPUs. A method marked "Collective" must be called by all
ranks, in the same order.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mtx.distributed.launch import VARIABLES, is_launched, is_launched_by_mtx
from mtx.errors import ExitCode, UserError
from mtx.system.device import choose_device
from mtx.system.signals import end_with_parent

T = TypeVar("T")

START_TIMEOUT = timedelta(minutes=2)  # Ranks are started together: one still missing after this time won't come
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among the ranks that train together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # Rank among the processes of this machine, which is also the index of its GPU
    store: Any = None  # The launcher's key-value store, which torch does not type; None if this process trains alone

    @property
    def is_rank0(self) -> bool:
        """Whether this rank reports and writes files."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether a torch process group exists, even if it has only one rank."""
        return self.store is not None

    def device(self, name: str) -> torch.device:
        """The device called `name`; for `cuda`, the GPU of this rank.

        Raises:
            UserError: this rank has no such device (MACHINE), or `name` is one GPU for several ranks (USAGE).
        """
        device = choose_device(name)
        if device.type == "cuda" and self.is_distributed:
            if device.index is not None:
                do = "Give cuda: each rank then uses its own GPU."
                raise UserError(ExitCode.USAGE, f"{name} is a single device, but there are {self.size} ranks", do=do)
            device = choose_device(f"cuda:{self.local_rank}")
            torch.cuda.set_device(device)
        return device

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's share of `items`: every `size`-th one."""
        return items[self.rank :: self.size]

    def interleave(self, results: Sequence[T]) -> list[T]:
        """Collective: the results of all ranks, in the order of the items that `share` distributed."""
        parts = self.all_gather(results)
        merged: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            merged[rank :: self.size] = part
        return merged

    def all_reduce_sum(self, numbers_X: Tensor) -> Tensor:
        """Collective: sum `numbers_X` over all ranks, in place."""
        if self.is_distributed:
            dist.all_reduce(numbers_X)
        return numbers_X

    def all_reduce_max(self, *numbers: int) -> list[int]:
        """Collective: the maximum of each number over all ranks."""
        numbers_X = torch.tensor(numbers)
        if self.is_distributed:
            dist.all_reduce(numbers_X, dist.ReduceOp.MAX)
        return [int(number) for number in numbers_X]

    def all_gather(self, value: T) -> list[T]:
        """Collective: the values of all ranks."""
        if not self.is_distributed:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast_from_0(self, compute: Callable[[], T]) -> T:
        """Collective: compute a value on rank 0 only and return it on every rank."""
        values = [compute() if self.is_rank0 else None]
        if self.is_distributed:
            dist.broadcast_object_list(values)
        return values[0]  # type: ignore[return-value]  # rank 0 put a T there

    def barrier(self) -> None:
        """Collective: return once all ranks have called this."""
        self.all_reduce_max(0)

    def publish(self, message: str) -> None:
        """Send `message` to the ranks that block in `wait_for_message`."""
        if self.store is not None:
            self.store.set("message", message)

    def wait_for_message(self) -> str:
        """Block, without a time limit, until rank 0 publishes a message; return it. It is empty if rank 0 has left."""
        self._wait_for("message")
        return str(self.store.get("message").decode())

    def request_stop(self) -> None:
        """Record that a signal asked this rank to stop; all ranks see it in `is_stop_requested`."""
        if self.store is not None:
            self.store.set("stop", "")

    def is_stop_requested(self) -> bool:
        """Whether any rank has called `request_stop`."""
        return self.store is not None and bool(self.store.check(["stop"]))

    def rendezvous(self) -> None:
        """Collective: wait for all ranks without a time limit. Must come before the other collectives."""
        if self.store is not None:
            self.store.set(f"ready {self.rank}", "")
            self._wait_for(*(f"ready {rank}" for rank in range(self.size)))

    def _wait_for(self, *keys: str) -> None:
        while not self.store.check(list(keys)):  # store.wait would block in C++, where Python handles no signals
            time.sleep(POLL_SECONDS)


SINGLE = ProcessGroup()  # A process that trains alone


@contextmanager
def join_group() -> Iterator[ProcessGroup]:
    """Make this process a rank of the group that a launcher started; without a launcher, yield `SINGLE`.

    Raises:
        UserError: the launcher's variables are wrong (USAGE), or other ranks can't be reached or are lost (PEER_LOST).
    """
    if not is_launched():
        yield SINGLE
        return
    if is_launched_by_mtx():
        end_with_parent(signal.SIGTERM)
    with explain_lost_peers():
        group = _join()
        yield group
        if group.is_rank0:
            group.publish("")
        # Only after success: leaving in order waits for ranks that may be gone.
        dist.destroy_process_group()


def _join() -> ProcessGroup:
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    try:
        store, rank, size = next(rendezvous("env://", timeout=START_TIMEOUT))
    except ValueError as error:
        do = "Start the training with mtx train --devices or with torchrun, which set them."
        raise UserError(ExitCode.USAGE, str(error), where=", ".join(VARIABLES), do=do) from error
    attempt = PrefixStore(_attempt_id(store, rank, size), store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=PrefixStore("group", attempt), rank=rank, world_size=size)
    return ProcessGroup(rank, size, int(os.environ.get("LOCAL_RANK", "0")), PrefixStore("mtx", attempt))


@contextmanager
def explain_lost_peers() -> Iterator[None]:
    """In the block, end this process when another rank is lost.

    Under `mtx train --devices` it exits silently, as the launcher knows more and reports it.

    Raises:
        UserError: another rank was lost (PEER_LOST).
    """
    try:
        yield
    except RuntimeError as error:
        if not is_peer_error(error):
            raise
        if is_launched_by_mtx():
            sys.exit(ExitCode.PEER_LOST)
        what = f"another process of this training was lost or never started: {str(error).splitlines()[0]}"
        do = "Run the same command to continue from the last checkpoint."
        raise UserError(ExitCode.PEER_LOST, what, do=do) from error


def _attempt_id(store: Any, rank: int, size: int) -> str:
    """Wait for all ranks, and agree on an id that no earlier attempt has used.

    A launcher that restarts ranks keeps one store for all attempts, with the keys of the earlier ones. The restart
    count cannot tell attempts apart, because it differs between machines. So each rank writes a random id of its own,
    and rank 0 answers every id it sees; only the ranks of this attempt still listen.
    """
    own_id = uuid.uuid4().hex
    store.set(f"rank {rank}", own_id)
    if rank > 0:
        store.wait([own_id], START_TIMEOUT)
        attempt: str = store.get(own_id).decode()
        store.set(f"{attempt} {rank}", "")
        return attempt
    others, deadline = range(1, size), time.monotonic() + START_TIMEOUT.total_seconds()
    while not all(store.check([f"{own_id} {other}"]) for other in others):
        for other in others:
            if store.check([f"rank {other}"]):  # of this attempt, or of an earlier one, which no longer listens
                store.set(store.get(f"rank {other}").decode(), own_id)
        if time.monotonic() > deadline:
            raise dist.DistStoreError(f"not all {size} ranks started within {START_TIMEOUT}")
        time.sleep(POLL_SECONDS)
    return own_id


def is_sharded(module: object) -> bool:
    """Whether torch's `fully_shard` has split the weights of `module` over the ranks."""
    return hasattr(module, "set_requires_gradient_sync")  # a method it adds; importing its module takes a second


def full_tensor(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor from all ranks (collective); return any other tensor as it is."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def is_peer_error(error: BaseException) -> bool:
    """Whether `error` means that another rank cannot be reached."""
    # gloo's errors have no class of their own, but name its source file.
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
