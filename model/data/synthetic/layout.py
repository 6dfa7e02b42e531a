"""How a comic page is cut into panels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.data.synthetic.curves import Points

PAGE_WIDTH, PAGE_HEIGHT = 800, 1100
_MARGIN = 32
_GUTTER = 14
# Panels in each row, from top to bottom; every plan has three to six panels.
_PLANS = (
    (1, 2),
    (2, 1),
    (2, 2),
    (1, 1, 1),
    (1, 2, 1),
    (2, 1, 1),
    (1, 1, 2),
    (2, 1, 2),
    (1, 2, 2),
    (2, 2, 1),
    (2, 2, 2),
)


@dataclass(frozen=True)
class Panel:
    """One panel: its corners on the page and the upright rectangle that lies wholly inside it, in px."""

    corners: Points  # [4, 2], clockwise from the top left
    left: float
    top: float
    right: float
    bottom: float


def panels(rng: np.random.Generator) -> list[Panel]:
    """Three to six panels in two or three rows; neighbours in a row often share a slanted gutter."""
    plan = _PLANS[int(rng.integers(len(_PLANS)))]
    heights = rng.uniform(0.8, 1.25, len(plan))
    room = PAGE_HEIGHT - 2 * _MARGIN - _GUTTER * (len(plan) - 1)
    edges = np.concatenate([[0.0], np.cumsum(heights / heights.sum() * room)])
    result = []
    for row, count in enumerate(plan):
        top = _MARGIN + row * _GUTTER + float(edges[row])
        bottom = top + float(edges[row + 1] - edges[row])
        result += _row(rng, top, bottom, count)
    return result


def _row(rng: np.random.Generator, top: float, bottom: float, count: int) -> list[Panel]:
    left, right = float(_MARGIN), float(PAGE_WIDTH - _MARGIN)
    if count == 1:
        return [_panel((left, left), (right, right), top, bottom)]
    middle = left + (right - left) * float(rng.uniform(0.43, 0.57))
    slant = float(rng.choice([0.0, 0.0, 1.0])) * float(rng.uniform(-34.0, 34.0))
    half = _GUTTER / 2
    upper, lower = middle + slant, middle - slant
    return [
        _panel((left, left), (upper - half, lower - half), top, bottom),
        _panel((upper + half, lower + half), (right, right), top, bottom),
    ]


def _panel(left: tuple[float, float], right: tuple[float, float], top: float, bottom: float) -> Panel:
    """A panel from its (upper, lower) x on both sides."""
    corners = np.array([[left[0], top], [right[0], top], [right[1], bottom], [left[1], bottom]])
    return Panel(corners, max(left), top, min(right), bottom)
