"""Colours and marks that mean the same thing everywhere in the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LineStyle = Literal["-", ":", "none"] | tuple[float, Sequence[float]]

_MARKERS = {0: "o", 4: "v", 8: "^", 16: "s", 32: "D", 64: "P", 128: "X", 256: "p"}  # swap level in px -> mark
_SHAPES = {  # the same marks as paths
    "o": "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0z", "v": "M0 6.4L-6.2-4.6H6.2z", "^": "M0-6.4L6.2 4.6H-6.2z",
    "s": "M-5-5H5V5H-5z", "D": "M0-7L7 0L0 7L-7 0z",
    "P": "M-2.2-6.4H2.2V-2.2H6.4V2.2H2.2V6.4H-2.2V2.2H-6.4V-2.2H-2.2z",
    "X": "M-6-2.9L-2.9-6L0-3.1L2.9-6L6-2.9L3.1 0L6 2.9L2.9 6L0 3.1L-2.9 6L-6 2.9L-3.1 0z",
    "p": "M0-6.6L6.3-2L3.9 5.3H-3.9L-6.3-2z",
    "*": "M0-8L2-2.7L7.6-2.5L3.2 1L4.7 6.5L0 3.4L-4.7 6.5L-3.2 1L-7.6-2.5L-2-2.7z",
}  # fmt: skip
_LINES: dict[str, LineStyle] = {"weights": "-", "features": (0, (4, 2))}


@dataclass(frozen=True)
class Theme:
    """Colours of a figure on light or dark ground; the page's style sheet has the same ones."""

    ground: str
    ink: str
    faint: str
    grid: str


LIGHT = Theme(ground="#ffffff", ink="#1d2126", faint="#69727d", grid="#e3e6ea")
DARK = Theme(ground="#171b21", ink="#e6e9ed", faint="#98a2ae", grid="#2b323b")


def marker(level: int) -> str:
    """Return matplotlib's mark of a swap level in px (0 for none)."""
    return _MARKERS.get(level, "*")


def line(kind: str) -> LineStyle:
    """Return matplotlib's line style of a kind of swap."""
    return _LINES.get(kind, ":")


def shape(level: int) -> str:
    """Return the mark of a swap level in px (0 for none) as the path of an SVG, about 12 units wide."""
    return _SHAPES.get(_MARKERS.get(level, "*"), _SHAPES["*"])


def file_name(name: str) -> str:
    """Return a name that is safe as part of a file name."""
    return re.sub(r"[^\w.-]", "_", name)
