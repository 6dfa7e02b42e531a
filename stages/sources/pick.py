"""A random part of what there is, chosen before anything is read."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable
from typing import TypeVar

from model.progress import track
from stages.sources.settings import Pick

T = TypeVar("T")
SPARE = 1000  # items looked at beyond twice the number wanted, to make up for bad ones


def draw(seed: int, origin: str) -> bytes:
    """Return the place of ``origin`` in the order of a draw.

    It depends on nothing but seed and name: new files shift hardly any old one out of the chosen part.
    """
    return hashlib.sha256(f"{seed}:{origin}".encode("utf-8", "surrogateescape")).digest()


def choose(items: Iterable[T], pick: Pick | None, origin: Callable[[T], str]) -> Iterable[T]:
    """Return the items to try: all of them as they come, or twice as many as wanted and some, in the draw's order."""
    if pick is None:
        return items
    seed, most = pick.seed, 2 * pick.count + SPARE
    return heapq.nsmallest(most, items, key=lambda item: draw(seed, origin(item)))


def put_until(items: Iterable[T], pick: Pick | None, put: Callable[[T], str | None], label: str) -> int:
    """Put items, as :func:`choose` gives them, until there are as many as wanted; see :func:`put_each`."""
    wanted = None if pick is None else pick.count
    looked = kept = 0
    for item in track(items, label, total=wanted, unit="images"):
        kept += put(item) is not None
        looked += 1
        if kept == wanted:
            break
    return looked


def put_each(
    items: Iterable[T], pick: Pick | None, origin: Callable[[T], str], put: Callable[[T], str | None], label: str
) -> int:
    """Put items on a shelf, all of them or a random part.

    Of a part, an item that turns out bad, or the same as another, is made up for by the next one of the draw: exactly
    ``pick.count`` are kept while there are enough good ones.

    Args:
        items: in the order in which all of them are put; of any number, as only those chosen are kept in memory.
        pick: which part; None = all.
        origin: name of an item, unique.
        put: keeps one item and returns its name, or None if it was dropped.
        label: of the progress, two or three words.

    Returns: the number of items looked at.
    """
    return put_until(choose(items, pick, origin), pick, put, label)
