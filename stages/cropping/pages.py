"""What is searched for faces as one: a picture, or the slices of a strip below one another, never whole in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from model.data.faces.boxes import Box, Points
from model.data.images import Header, UInt8, read_image
from model.errors import CorruptInputError


@dataclass(frozen=True)
class Picture:
    """A file of the raw folder, with what its record says about faces."""

    name: str
    landmarks: Points | None  # px, of its only face
    faces: tuple[Box, ...]


@dataclass(frozen=True)
class Page:
    """One piece of work: pictures that belong below one another, from top to bottom."""

    strip: str | None  # name of the strip, if they are slices of one
    pictures: tuple[Picture, ...]


class BrokenSliceError(Exception):
    """A slice whose header was fine turns out to be broken."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def plan_pages(files: Mapping[str, Mapping[str, Any]], join: bool) -> list[Page]:
    """Put the slices of each strip together, in the order that their records give.

    Args:
        files: the ``files`` of ``crawl.json``: name -> record.
        join: False leaves every picture alone, for pictures that are face crops already.

    Returns: pages in the order of their first picture's name.
    """
    strips: dict[tuple[str, str], list[str]] = {}
    for name in sorted(files):
        strip = files[name].get("strip") if join else None
        strips.setdefault(("picture", name) if strip is None else ("strip", str(strip)), []).append(name)
    pages = []
    for (kind, strip), names in strips.items():
        ordered = sorted(names, key=lambda name: (files[name].get("order", 0), name))
        pictures = tuple(_picture(name, files[name]) for name in ordered)
        pages.append(Page(strip if kind == "strip" else None, pictures))
    return pages


def _picture(name: str, record: Mapping[str, Any]) -> Picture:
    landmarks = record.get("landmarks")
    points = None if landmarks is None else tuple((float(x), float(y)) for x, y in landmarks)
    return Picture(name, points, tuple(Box(y, x, width, height) for x, y, width, height in record.get("faces", ())))


def runs(headers: Sequence[Header | None]) -> list[range]:
    """Divide the slices of a strip where they do not fit: at unreadable ones (None) and where the width changes."""
    found: list[range] = []
    for index, header in enumerate(headers):
        if header is None:
            continue
        before = headers[index - 1] if index else None
        if before is not None and before.width == header.width:
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found


class Strip:
    """Pictures of one width joined vertically; ``strip[top:bottom, left:right]`` reads only the slices it needs."""

    def __init__(self, files: Sequence[Path], headers: Sequence[Header]) -> None:
        self._files = files
        self._headers = headers
        self.tops = [0, *accumulate(header.height for header in headers)]  # of the slices; the last is the end
        self.shape = (self.tops[-1], headers[0].width, 3)
        self._loaded: dict[int, UInt8] = {}  # what the last part needed: the next one overlaps it

    def __getitem__(self, part: tuple[slice, slice]) -> UInt8:
        """Return a part, uint8 ``[H, W, 3]``; BrokenSliceError if a slice cannot be read."""
        top, bottom, _ = part[0].indices(self.shape[0])
        inside = range(self.slice_at(top), self.slice_at(bottom - 1) + 1)
        self._loaded = {index: self._loaded[index] for index in inside if index in self._loaded}
        for index in inside:
            if index not in self._loaded:
                self._loaded[index] = self._read(index)
        pieces = [
            self._loaded[index][max(top - self.tops[index], 0) : bottom - self.tops[index], part[1]] for index in inside
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def slice_at(self, row: int) -> int:
        """Return the index of the slice that ``row`` of the strip lies in; rows outside count to the ends."""
        return min(max(bisect_right(self.tops, row) - 1, 0), len(self._files) - 1)

    def _read(self, index: int) -> UInt8:
        try:
            image = read_image(self._files[index])
        except CorruptInputError as error:
            raise BrokenSliceError(index, str(error)) from error
        header = self._headers[index]
        if image.shape[:2] != (header.height, header.width):
            raise BrokenSliceError(index, f"{self._files[index]}: its size is not what its header says; replace it")
        return image
