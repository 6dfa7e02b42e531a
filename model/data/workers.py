"""Work divided among processes: results in the order of the items, little in memory, nobody left behind.

Processes come from a fork server, not from this process: a fork of it would inherit locks that threads hold (of a
progress bar, of OpenCV), and everything it has imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, TypeVar

from model.errors import ResourceError, UsageError

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 4  # items per process that are taken before their results are
MOST = 8  # processes that `auto` takes: beyond, the one that collects the results is the limit


def count_workers(setting: int | str, key: str) -> int:
    """Return how many processes a setting means: a number, or ``auto`` for the processors there are, at most 8.

    Args:
        setting: from the params file.
        key: its name, for the message.

    Raises: UsageError for anything else.
    """
    if setting == "auto":
        return min(MOST, len(os.sched_getaffinity(0)))
    if isinstance(setting, int) and not isinstance(setting, bool) and setting >= 1:
        return setting
    raise UsageError(f"{key}: found {setting!r}, expected a number of processes, 1 or more, or auto")


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Yield ``function(item)`` for every item, in order; with one worker in this process, else :func:`in_processes`."""
    yield from map(function, items) if workers == 1 else in_processes(function, items, workers)


def in_processes(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Yield ``function(item)`` for every item, in order, computed by other processes.

    At most four items per process are under way, so neither items nor results pile up. The processes end with this
    iterator (exhaust it, or close it), and when this process dies, however it dies.

    Args:
        function: of a module, or a ``partial`` of one: it is sent by pickle. Its module should be cheap to import.
        items: taken one by one; sent by pickle.
        workers: processes.

    Raises: what ``function`` raises, at the item's turn; ResourceError if a process is killed.
    """
    pool = start_pool(function, workers)
    waiting: deque[Future[R]] = deque()
    source = iter(items)
    try:
        while True:
            waiting.extend(pool.submit(function, item) for item in islice(source, IN_FLIGHT * workers - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ResourceError(
            "a worker process was killed; the usual reason is lack of memory: free some, or set `workers` to fewer"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def start_pool(function: Callable[..., object], workers: int) -> ProcessPoolExecutor:
    """Return processes that have imported what ``function`` needs, leave Ctrl-C to this process and end with it."""
    module = getattr(function, "func", function).__module__
    if module == "__main__":
        raise ValueError(f"{function!r} is not of a module that other processes can import")
    context = _Context()
    context.set_forkserver_preload([module])  # once, by the server
    return ProcessPoolExecutor(workers, context, _start_worker)


class _Process(ForkServerProcess):
    """A process that does not run the command's own module again, which may import much, or have no file."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802 (multiprocessing's name)
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return ForkServerProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Context(ForkServerContext):
    Process = _Process


def _start_worker() -> None:
    """Leave Ctrl-C to the first process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
