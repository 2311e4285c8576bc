"""Parallel work in processes that are forked from this one, each with one thread.

Python runs one thread at a time, and the matrices of a decoding step are too small to split: with int8, two processes
are twice as fast as one, two threads only 1.5 times.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from mtx.errors import ExitCode, UserError
from mtx.system.signals import end_with_parent

Work = Callable[[Any], Any]
Task = TypeVar("Task")
T = TypeVar("T")
MAX_THREADS = 1024  # Larger values of OMP_NUM_THREADS are taken for typing errors and ignored
MIN_TASKS = 4  # Fewer tasks than this are done in this process: starting others would take longer
_work: Work | None = None  # In a worker, the function that it applies to each task


def can_fork() -> bool:
    """Whether worker processes can be forked: on Linux."""
    return sys.platform == "linux"


def num_threads() -> int:
    """The value of OMP_NUM_THREADS, or else the number of processors that this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and 0 < int(given) <= MAX_THREADS else allowed


def start_workers(count: int, work: Work, initialize: Callable[[], None] = lambda: None) -> ProcessPoolExecutor:
    """Fork `count` processes that call `initialize` and apply `work`, which is inherited and not sent, to tasks."""
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(count, context, initializer=_become_worker, initargs=(work, initialize, os.getpid()))


def map_as_completed(workers: ProcessPoolExecutor, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield the index and the result of each task as soon as it is done.

    Raises:
        UserError: a worker was killed (MACHINE).
    """
    futures: dict[Future[Any], int] = {}
    try:
        with _explain_killed_worker():
            for index, task in enumerate(tasks):
                futures[_submit(workers, task)] = index
            for done in as_completed(futures):
                yield futures[done], done.result()
    finally:
        for future in futures:
            future.cancel()


def parallel_map(tasks: Iterator[Task], work: Callable[[Task], T]) -> Generator[tuple[Task, T], None, None]:
    """Yield each task with its result, in order; use several processes if there are enough tasks and processors.

    Raises:
        UserError: a worker was killed (MACHINE).
    """
    first = list(islice(tasks, MIN_TASKS))
    tasks = chain(first, tasks)
    count = num_threads()
    if len(first) < MIN_TASKS or count == 1 or not can_fork():
        for task in tasks:
            yield task, work(task)
        return
    workers = start_workers(count, work)
    started: deque[tuple[Task, Future[T]]] = deque()
    try:
        with _explain_killed_worker():
            for task in tasks:
                started.append((task, _submit(workers, task)))
                if len(started) > 2 * count:  # each process has one task to do, and the next
                    task, future = started.popleft()
                    yield task, future.result()
            while started:
                task, future = started.popleft()
                yield task, future.result()
    finally:
        workers.shutdown(cancel_futures=True)


def _submit(workers: ProcessPoolExecutor, task: Any) -> Future[Any]:
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forking beside torch's threads, which workers never use.
        warnings.simplefilter("ignore", DeprecationWarning)
        return workers.submit(_run, task)


@contextmanager
def _explain_killed_worker() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        do = "Free memory, or use smaller batches."
        raise UserError(ExitCode.MACHINE, "a worker process was killed", do=do) from error


def _become_worker(work: Work, initialize: Callable[[], None], parent: int) -> None:
    global _work
    _work = work
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # a signal to the whole process group is for the parent to handle
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_exit_when_parent_says, daemon=True).start()
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already, so no signal will come; a worker would keep its run locked
        os._exit(0)
    initialize()
    gc.freeze()  # collecting garbage among inherited objects would take long and copy their pages


def _exit_when_parent_says() -> None:
    # At a SIGTERM from the parent's pool, not at one to the whole process group: the parent may need its workers still.
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _run(task: Any) -> Any:
    assert _work is not None, "not a worker"
    return _work(task)
