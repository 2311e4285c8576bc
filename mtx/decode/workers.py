"""Several batches searched at once, each in a process of its own and on one thread.

The matrices of a decoding step are too small to be worth sharing out among threads, and Python runs one thread at a
time: with int8 two processes are twice as fast as one, two threads 1.5 times.
"""

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import torch

from mtx.decode.search import Hypothesis
from mtx.errors import ExitCode, UserError
from mtx.runtime import keep_freed_memory

Sentences = list[list[int]]
Search = Callable[[Sentences], list[list[Hypothesis]]]

_search: Search | None = None
"""What this process searches with, where it is a worker."""


def can_have_workers() -> bool:
    """Whether processes can be forked that share the model's memory: on Linux."""
    return sys.platform == "linux"


def start_workers(count: int, search: Search) -> ProcessPoolExecutor:
    """Processes that search with `search`, as copies of this one: what it refers to is theirs without being sent."""
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(count, context, initializer=_become_worker, initargs=(search, os.getpid()))


def search_in_workers(
    workers: ProcessPoolExecutor, batches: Sequence[Sentences]
) -> Iterator[tuple[int, list[list[Hypothesis]]]]:
    """The number of each batch and what is found for it, in the order in which they are done.

    Raises:
        UserError: a worker was killed (MACHINE).
    """
    searches: dict[Future[list[list[Hypothesis]]], int] = {}
    try:
        with warnings.catch_warnings():
            # Python from 3.12 on warns of forking beside torch's threads; workers never use these.
            warnings.simplefilter("ignore", DeprecationWarning)
            for number, batch in enumerate(batches):
                searches[workers.submit(_search_here, batch)] = number
        for done in as_completed(searches):
            yield searches[done], done.result()
    except BrokenProcessPool as error:
        what = "a process that searched translations was killed"
        raise UserError(ExitCode.MACHINE, what, do="Free memory, or lower --batch-tokens.") from error
    finally:
        for search in searches:
            search.cancel()


def _become_worker(search: Search, parent: int) -> None:
    global _search
    _search = search
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group, they are the parent's business
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_obey_parent, daemon=True).start()
    set_parent_death_signal = 1  # linux/prctl.h: a worker does not outlive its parent, however that ends
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended already: nobody would tell, and the lock of its run would stay
        os._exit(0)
    torch.set_num_threads(1)
    keep_freed_memory()
    gc.freeze()  # what it inherits stays: to look through it for garbage would take long, and copy its pages


def _obey_parent() -> None:
    """End when the parent says so by SIGTERM, as its pool does; not when it comes from elsewhere, to all of a group.

    The parent has its reasons to go on for a while then: it saves.
    """
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _search_here(sentences: Sentences) -> list[list[Hypothesis]]:
    assert _search is not None, "not a worker"
    return _search(sentences)
