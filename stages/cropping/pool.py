"""Pages divided among processes: one that kills its worker is tried once more alone, then given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from model.data.workers import start_pool

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # items per process that are under way before their results are taken: results are whole pages of crops


def survivors(
    function: Callable[[T], R], items: Iterable[T], workers: int, lost: Callable[[T], R]
) -> Iterator[tuple[T, R]]:
    """Yield every item with ``function(item)``, in order; one that kills its process twice yields ``lost(item)``.

    The work is always done in other processes, also by one worker, so that what lack of memory does to it is the same
    for any number of them. Nobody can say whose fault a dead process was, so everything that was unfinished then is
    done again, each item alone.

    Args:
        function: of a module, or a ``partial`` of one; its module should be cheap to import.
        items: taken a few at a time.
        workers: processes.
        lost: makes the result of an item that cannot be worked on.

    Raises: what ``function`` raises, at the item's turn.
    """
    pool = start_pool(function, workers)
    waiting: deque[tuple[T, Future[R]]] = deque()
    source = iter(items)
    try:
        while True:
            for item in islice(source, AHEAD * workers - len(waiting)):
                waiting.append((item, _submitted(pool, function, item)))
            if not waiting:
                return
            item, future = waiting[0]
            try:
                result = future.result()
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                for item, future in waiting:
                    yield item, _again(function, item, future, lost)
                waiting.clear()
                pool = start_pool(function, workers)
            else:
                waiting.popleft()
                yield item, result
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, function: Callable[[T], R], item: T) -> Future[R]:
    """Submit an item; to a pool whose process has just died, too, so that this shows at the item's turn."""
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        broken: Future[R] = Future()
        broken.set_exception(error)
        return broken


def _again(function: Callable[[T], R], item: T, first: Future[R], lost: Callable[[T], R]) -> R:
    """Return what ``first`` ended with, or the item done alone in a process of its own."""
    try:
        return first.result()
    except BrokenProcessPool:
        pass
    pool = start_pool(function, 1)
    try:
        return pool.submit(function, item).result()
    except BrokenProcessPool:
        return lost(item)
    finally:
        pool.shutdown(cancel_futures=True)
