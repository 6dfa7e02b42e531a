"""Rectangles on a page: overlap, the surest of several, tiles of a strip, what lies in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.data.images import UInt8

STRIP = 3.0  # an image this many times longer than wide is searched in tiles
OVERLAP_SAME = 0.3  # intersection over union from which two boxes are one face
INSIDE_SAME = 0.6  # share of the smaller box inside the larger one from which they are one face

Points = tuple[tuple[float, float], ...]  # (x, y) in px of the page


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle in px of the page."""

    y: int
    x: int
    width: int
    height: int


@dataclass(frozen=True, order=True)
class Face:
    """A face that was found."""

    box: Box
    score: float  # how sure, on the detector's own scale: agreeing search windows, or a probability
    landmarks: Points | None  # 5 (eyes, nose, corners of the mouth; the viewer's left first) or 68, if known

    def moved(self, down: int, right: int) -> Face:
        """Return the same face in coordinates of a page whose corner lies up and left of this tile's."""
        box = Box(self.box.y + down, self.box.x + right, self.box.width, self.box.height)
        if self.landmarks is None:
            return Face(box, self.score, None)
        return Face(box, self.score, tuple((x + right, y + down) for x, y in self.landmarks))


def tiles(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Divide a strip into overlapping tiles twice as long as wide (top, left, bottom, right); others stay whole.

    Neighbours share a square as wide as the strip, so every face lies whole in some tile.
    """
    short, long = min(height, width), max(height, width)
    if long < STRIP * short:
        return [(0, 0, height, width)]
    count = -(-(long - short) // short)
    starts = [round(i * (long - 2 * short) / (count - 1)) for i in range(count)]
    assert all(b - a <= short for a, b in pairwise(starts))
    if height >= width:
        return [(start, 0, start + 2 * short, width) for start in starts]
    return [(0, start, height, start + 2 * short) for start in starts]


def distinct(faces: Sequence[Face]) -> list[Face]:
    """Keep the surest of faces that overlap (non-maximum suppression); surest first, then top to bottom."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: (-f.score, f.box)):
        overlaps = (overlap(face.box, other.box) for other in kept)
        if not any(union > OVERLAP_SAME or inside > INSIDE_SAME for union, inside in overlaps):
            kept.append(face)
    return kept


def overlap(a: Box, b: Box) -> tuple[float, float]:
    """Return intersection over union, and intersection over the smaller box."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(width, 0) * max(height, 0)
    areas = (a.width * a.height, b.width * b.height)
    return shared / (sum(areas) - shared), shared / min(areas)


def share_inside(square: Box, height: int, width: int) -> float:
    """Return the share of ``square`` that lies on a page of ``height`` x ``width`` px."""
    across = min(square.x + square.width, width) - max(square.x, 0)
    down = min(square.y + square.height, height) - max(square.y, 0)
    return max(across, 0) * max(down, 0) / (square.width * square.height)


def cut_square(image: UInt8, square: Box) -> UInt8:
    """Cut ``square`` out of ``[H, W, 3]``; where it leaves the page the page's edge is repeated."""
    rows = np.clip(np.arange(square.y, square.y + square.height), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(square.x, square.x + square.width), 0, image.shape[1] - 1)
    return image[rows[:, None], columns[None, :]]
