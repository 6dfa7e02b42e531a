"""Names written beside marks of a figure, where the least is in their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LETTER, LINE = 8.2, 16.0  # width and height of text in the figure, units of its view box
GAP = 15.0  # between a mark and its name


SIDES = {  # which way from the mark; anchor of the text
    "right": (1, 0), "left": (-1, 0), "above": (0, -1), "below": (0, 1),
    "lower right": (1, 1), "upper left": (-1, -1), "upper right": (1, -1), "lower left": (-1, 1),
}  # fmt: skip


class Box(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> float:
        """Return the area shared with another."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)


def place(
    marks: Sequence[Mapping[str, Any]], anchors: Mapping[str, Any], frame: tuple[float, float, float, float]
) -> list[dict[str, Any]]:
    """Return a name for every ringed mark: where it stands, and from which side it is written.

    Each takes, of eight places around its mark, the one that covers least; equal input gives equal places.
    """
    taken = [_around(mark, 13.0 if mark["ring"] else 8.0) for mark in marks]
    if anchors.get("source"):
        star = anchors["source"]
        taken.append(Box(star["x"] - 120, star["y"] - 10, star["x"] + 10, star["y"] + 10))
    inside, found = Box(*frame), []
    for mark in (m for m in marks if m["ring"]):
        wide = LETTER * len(mark["name"])
        options = [_option(mark, wide, side) for side in SIDES]
        box, label = min(options, key=lambda option: _cost(option[0], taken, inside))
        taken.append(box)
        found.append({**label, "text": mark["name"], "method": mark["method"]})
    return found


def _around(mark: Mapping[str, Any], half: float) -> Box:
    return Box(mark["x"] - half, mark["y"] - half, mark["x"] + half, mark["y"] + half)


def _option(mark: Mapping[str, Any], wide: float, side: str) -> tuple[Box, dict[str, Any]]:
    across, down = SIDES[side]
    near = 0.75 if across and down else 1.0  # a corner is further away
    x, y = mark["x"] + across * GAP * near, mark["y"] + down * (GAP + LINE / 2) * near
    left = x - wide / 2 if not across else x if across > 0 else x - wide
    anchor = {0: "middle", 1: "start", -1: "end"}[across]
    return Box(left, y - LINE / 2, left + wide, y + LINE / 2), {
        "x": round(x, 1),
        "y": round(y + 4.5, 1),
        "anchor": anchor,
    }


def _cost(box: Box, taken: Sequence[Box], inside: Box) -> float:
    area = (box.right - box.left) * (box.bottom - box.top)
    return sum(box.meets(other) for other in taken) + 3 * (area - box.meets(inside))
