"""Names written beside marks of a figure, where the least is in their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LETTER, LINE = 7.6, 16.0  # width and height of text in the figure, units of its view box
GAP = 13.0  # between a mark and its name


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

    Each takes, of four places around its mark, the one that covers least; equal input gives equal places.
    """
    taken = [Box(mark["x"] - 8, mark["y"] - 8, mark["x"] + 8, mark["y"] + 8) for mark in marks]
    if anchors.get("source"):
        star = anchors["source"]
        taken.append(Box(star["x"] - 120, star["y"] - 10, star["x"] + 10, star["y"] + 10))
    inside, found = Box(*frame), []
    for mark in (m for m in marks if m["ring"]):
        wide = LETTER * len(mark["name"])
        options = [_option(mark, wide, side) for side in ("start", "end", "above", "below")]
        box, label = min(options, key=lambda option: _cost(option[0], taken, inside))
        taken.append(box)
        found.append({**label, "text": mark["name"], "method": mark["method"]})
    return found


def _option(mark: Mapping[str, Any], wide: float, side: str) -> tuple[Box, dict[str, Any]]:
    x, y = mark["x"], mark["y"]
    if side in ("start", "end"):
        left = x + GAP if side == "start" else x - GAP - wide
        at = x + GAP if side == "start" else x - GAP
        return Box(left, y - LINE / 2, left + wide, y + LINE / 2), {"x": round(at, 1), "y": y + 4.5, "anchor": side}
    top = y - GAP - LINE if side == "above" else y + GAP
    box = Box(x - wide / 2, top, x + wide / 2, top + LINE)
    return box, {"x": x, "y": round(top + 12.5, 1), "anchor": "middle"}


def _cost(box: Box, taken: Sequence[Box], inside: Box) -> float:
    area = (box.right - box.left) * (box.bottom - box.top)
    return sum(box.meets(other) for other in taken) + 3 * (area - box.meets(inside))
