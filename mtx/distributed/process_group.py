"""The processes that train together: torch's launcher starts them, its process group joins them, each is a rank.

What ranks tell one another goes through gloo on the CPU and, on GPUs, through NCCL. Every rank has to ask for the same
things in the same order: a function that is marked "together" is called by all of them.
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
from torch import Tensor, nn

from mtx.distributed.environment import VARIABLES, is_launched
from mtx.errors import ExitCode, UserError
from mtx.system.device import choose_device
from mtx.system.signals import end_with_parent

T = TypeVar("T")

RUN_PREFIX = "mtx-"
"""What the name of a launch begins with that `mtx train --devices` has made."""

LONGEST_START = timedelta(minutes=2)
"""Ranks are started together: one that is not there after so long will not come."""

SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Its number among those on this machine, and that of its GPU."""
    store: Any = None  # torch.distributed.Store | None, which torch does not type
    """What the launcher keeps for them; None where this process trains by itself."""

    @property
    def is_rank0(self) -> bool:
        """Whether this is the rank that speaks and writes."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether there is a process group, be it of one rank."""
        return self.store is not None

    def device(self, name: str) -> torch.device:
        """The device called `name`, of which each rank has its own where it is a GPU.

        Raises:
            UserError: there is none for this rank (MACHINE), or `name` is that of a single one (USAGE).
        """
        device = choose_device(name)
        if device.type != "cuda" or not self.is_distributed:
            return device
        if device.index is not None:
            do = "Give cuda, of which each rank takes its own."
            raise UserError(ExitCode.USAGE, f"{name} is a single device, and there are {self.size} ranks", do=do)
        own = choose_device(f"cuda:{self.local_rank}")
        torch.cuda.set_device(own)
        return own

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Those of `items` that are this rank's."""
        return items[self.rank :: self.size]

    def interleave(self, results: Sequence[T]) -> list[T]:
        """Together: the results of all, in the order of the items that `share` gave to each."""
        parts = self.all_gather(results)
        whole: list[Any] = [None] * sum(map(len, parts))
        for number, part in enumerate(parts):
            whole[number :: self.size] = part
        return whole

    def all_reduce_sum(self, numbers_X: Tensor) -> Tensor:
        """Together: the sum of `numbers_X` over all ranks, in its place."""
        if self.is_distributed:
            dist.all_reduce(numbers_X)
        return numbers_X

    def all_reduce_max(self, *numbers: int) -> list[int]:
        """Together: of each number the highest that a rank has."""
        numbers_X = torch.tensor(numbers)
        if self.is_distributed:
            dist.all_reduce(numbers_X, dist.ReduceOp.MAX)
        return [int(number) for number in numbers_X]

    def all_gather(self, thing: T) -> list[T]:
        """Together: the `thing` of each rank."""
        if not self.is_distributed:
            return [thing]
        things: list[Any] = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def broadcast_from_0(self, find: Callable[[], T]) -> T:
        """Together: what the first rank finds, the only one to look."""
        found = [find() if self.is_rank0 else None]
        if self.is_distributed:
            dist.broadcast_object_list(found)
        return found[0]  # type: ignore[return-value]  # it is what the first rank put there

    def barrier(self) -> None:
        """Together: go on when all have come to this point."""
        if self.is_distributed:
            self.all_reduce_max(0)

    def publish(self, what: str) -> None:
        """Let the other ranks go on, which wait in `wait_for_message`, however long."""
        if self.store is not None:
            self.store.set("told", what)

    def request_stop(self) -> None:
        """Tell all other ranks that a signal asked this one to stop; they learn it from `is_stop_requested`."""
        if self.store is not None:
            self.store.set("stop", "")

    def is_stop_requested(self) -> bool:
        """Whether any rank has called `request_stop`."""
        return self.store is not None and bool(self.store.check(["stop"]))

    def wait_for_message(self) -> str:
        """Wait for what the first rank tells."""
        assert self.store is not None
        _wait_for(self.store, ["told"])
        return str(self.store.get("told").decode())

    def rendezvous(self, where: str) -> None:
        """Together, before anything else is done so: wait until all have come to this point, however long."""
        if self.store is not None:
            self.store.set(f"{where} {self.rank}", "")
            _wait_for(self.store, [f"{where} {number}" for number in range(self.size)])


def _wait_for(store: Any, keys: list[str]) -> None:
    while not store.check(keys):  # its own `wait` would keep signals from being heard
        time.sleep(SECONDS_BETWEEN_LOOKS)


SINGLE = ProcessGroup()
"""A process that trains by itself."""


@contextmanager
def join_group() -> Iterator[ProcessGroup]:
    """Inside, this process is one of those that a launcher has started; alone where none did.

    Raises:
        UserError: the launcher's variables are wrong (USAGE); the others cannot be reached, or one of them was lost
            inside (PEER_LOST).
    """
    if not is_launched():
        yield SINGLE
        return
    if _are_ours():
        end_with_parent(signal.SIGTERM)
    with explain_lost_peers():
        group = _join()
        yield group
        # Only where all went well: to leave politely would wait for ranks that may be gone.
        dist.destroy_process_group()


def _join() -> ProcessGroup:
    # Not at the top: torch may be built without.
    from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

    try:
        store, number, count = next(rendezvous("env://", timeout=LONGEST_START))
    except ValueError as error:
        do = "Start it by mtx train --devices, or by torchrun, which set them."
        raise UserError(ExitCode.USAGE, str(error), where=", ".join(VARIABLES), do=do) from error
    met = PrefixStore(_meet(store, number, count), store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    group, own = (PrefixStore(name, met) for name in ("group", "mtx"))
    dist.init_process_group(backend, store=group, rank=number, world_size=count)
    return ProcessGroup(number, count, int(os.environ.get("LOCAL_RANK", "0")), own)


def _are_ours() -> bool:
    """Whether `mtx train --devices` has launched this process."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(RUN_PREFIX)


@contextmanager
def explain_lost_peers() -> Iterator[None]:
    """Inside, the end of another rank is the end of this one.

    Raises:
        UserError: (PEER_LOST) if it was not `mtx train --devices` that has started it, which knows more, and tells.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_peer_error(error):
            raise
        if _are_ours():
            sys.exit(ExitCode.PEER_LOST)
        what = f"another process of this training was lost, or never came: {str(error).splitlines()[0]}"
        do = "Run the same command to go on from the last checkpoint."
        raise UserError(ExitCode.PEER_LOST, what, do=do) from error


def _meet(store: Any, number: int, count: int) -> str:
    """Wait for all ranks; the name of their meeting, which none before them has had.

    A launcher that starts ranks again keeps one store for all its attempts, with all that earlier ones left there.
    Their number of restarts would not tell them apart: that differs from machine to machine.
    """
    me = uuid.uuid4().hex
    store.set(f"rank {number}", me)
    if number > 0:
        store.wait([me], LONGEST_START)
        meeting: str = store.get(me).decode()
        store.set(f"{meeting} {number}", "")
        return meeting
    others, deadline = range(1, count), time.monotonic() + LONGEST_START.total_seconds()
    while not all(store.check([f"{me} {rank}"]) for rank in others):
        for rank in others:
            if store.check([f"rank {rank}"]):  # it, or one of an earlier attempt, which will not answer
                store.set(store.get(f"rank {rank}").decode(), me)
        if time.monotonic() > deadline:
            raise dist.DistStoreError(f"not all {count} ranks came in {LONGEST_START}")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return me


def is_sharded(module: nn.Module) -> bool:
    """Whether each rank holds a part of every weight of `module`, by torch's `fully_shard`."""
    return hasattr(module, "set_requires_gradient_sync")  # a method that it adds; its module takes a second to import


def full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor of which each rank may hold a part; together, where that is so."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def is_peer_error(error: BaseException) -> bool:
    """Whether `error` says that another rank cannot be reached."""
    # Those of gloo have no class of their own, but name its source file.
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
