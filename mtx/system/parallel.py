"""Work shared out among processes that are forked from this one, each on one thread.

Python runs one thread at a time, and the matrices of a decoding step are too small to be worth sharing out among
threads: with int8 two processes are twice as fast as one, two threads 1.5 times.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from mtx.errors import ExitCode, UserError
from mtx.system.signals import end_with_parent

Work = Callable[[Any], Any]

MAX_THREADS = 1024
"""More than any machine makes use of: a slip of the keyboard."""

TASKS_FOR_WORKERS = 4
"""Tasks that must be waiting before processes are started for them."""

Task = TypeVar("Task")
T = TypeVar("T")

_work: Work | None = None
"""What this process does with each task, where it is a worker."""


def can_fork() -> bool:
    """Whether processes can be forked that share what this one holds: on Linux."""
    return sys.platform == "linux"


def num_threads() -> int:
    """OMP_NUM_THREADS, or else the number of processors that this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and 0 < int(given) <= MAX_THREADS else allowed


def start_workers(count: int, work: Work, begin: Callable[[], None] = lambda: None) -> ProcessPoolExecutor:
    """Processes that do `work`, as copies of this one: what it refers to is theirs without being sent.

    Each calls `begin` first, which is `mtx.system.memory.prepare_forked_process` where the work is torch's.
    """
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(count, context, initializer=_become_worker, initargs=(work, begin, os.getpid()))


def map_as_completed(workers: ProcessPoolExecutor, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """The number of each task and what its work gives, in the order in which they are done.

    Raises:
        UserError: a worker was killed (MACHINE).
    """
    futures: dict[Future[Any], int] = {}
    try:
        with _deaths_explained():
            for number, task in enumerate(tasks):
                futures[_submit(workers, task)] = number
            for done in as_completed(futures):
                yield futures[done], done.result()
    finally:
        for future in futures:
            future.cancel()


def map_in_order(workers: ProcessPoolExecutor, tasks: Iterable[Any], num_ahead: int) -> Iterator[Any]:
    """What the work of each task gives, in the order of `tasks`, of which `num_ahead` are taken beforehand.

    Raises:
        UserError: a worker was killed (MACHINE).
    """
    futures: deque[Future[Any]] = deque()
    try:
        with _deaths_explained():
            for task in tasks:
                futures.append(_submit(workers, task))
                if len(futures) > num_ahead:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def _submit(workers: ProcessPoolExecutor, task: Any) -> Future[Any]:
    with warnings.catch_warnings():
        # Python from 3.12 on warns of forking beside torch's threads; workers never use these.
        warnings.simplefilter("ignore", DeprecationWarning)
        return workers.submit(_work_here, task)


@contextmanager
def _deaths_explained() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        what = "a process that shared the work was killed"
        raise UserError(ExitCode.MACHINE, what, do="Free memory, or use smaller batches.") from error


def _become_worker(work: Work, begin: Callable[[], None], parent: int) -> None:
    global _work
    _work = work
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group, they are the parent's business
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_obey_parent, daemon=True).start()
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it had ended already: nobody would tell, and the lock of its run would stay
        os._exit(0)
    begin()
    gc.freeze()  # what it inherits stays: to look through it for garbage would take long, and copy its pages


def _obey_parent() -> None:
    """End when the parent says so by SIGTERM, as its pool does; not when it comes from elsewhere, to all of a group.

    The parent has its reasons to go on for a while then: it saves.
    """
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _work_here(task: Any) -> Any:
    assert _work is not None, "not a worker"
    return _work(task)


def parallel_map(tasks: Iterator[Task], work: Callable[[Task], T]) -> Generator[tuple[Task, T], None, None]:
    """Each task with what `work` makes of it, in their order; by several processes where there is enough to do.

    Raises:
        UserError: a process that shared the work was killed (MACHINE).
    """
    first = list(islice(tasks, TASKS_FOR_WORKERS))
    tasks = chain(first, tasks)
    count = num_threads()
    if len(first) < TASKS_FOR_WORKERS or count == 1 or not can_fork():
        for task in tasks:
            yield task, work(task)
        return
    taken: list[Task] = []

    def noted() -> Iterator[Task]:
        for task in tasks:
            taken.append(task)
            yield task

    with _workers(count, work) as workers:
        for result in map_in_order(workers, noted(), num_ahead=2 * count):
            yield taken.pop(0), result


@contextmanager
def _workers(count: int, work: Callable[[Task], T]) -> Iterator[ProcessPoolExecutor]:
    workers = start_workers(count, work)
    try:
        yield workers
    finally:
        workers.shutdown(cancel_futures=True)
