"""One dataset of the comparison: its cells, points, scale and recommended levels, ready to be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.comparing.claim import recommended
from stages.comparing.points import Place, Point, Scale, anchors_of, points_of, scale_of, unswapped
from stages.comparing.reading import Measured
from stages.comparing.table import Cell, Floats


@dataclass(frozen=True)
class Rules:
    """What of the section ``compare`` decides what is found."""

    baseline: str
    max_style_ratio: float
    resamples: int
    confidence: float


@dataclass(frozen=True)
class View:
    """One dataset."""

    dataset: str
    rules: Rules
    fid: str  # key
    scale: Scale
    anchors: dict[str, dict[str, float]]
    cells: tuple[Cell, ...] = field(repr=False)
    points: tuple[Point, ...] = field(repr=False)
    chosen: dict[str, Point | None]  # method -> its recommended level

    @property
    def methods(self) -> list[str]:
        """Return the methods that were measured, in the order of the params file."""
        return list(dict.fromkeys(point.method for point in self.points))

    @property
    def rivals(self) -> list[str]:
        """Return the methods that are measured against the baseline; none without a baseline."""
        methods = self.methods
        return [m for m in methods if m != self.rules.baseline] if self.rules.baseline in methods else []

    def of(self, method: str) -> list[Point]:
        """Return the points of a method, the main snapshot without a swap first."""
        return [point for point in self.points if point.method == method]

    def start(self, method: str) -> Point | None:
        """Return a method's main snapshot without a swap."""
        return unswapped(self.of(method))

    def seeds(self, method: str, where: Place) -> dict[str, Cell]:
        """Return seed -> the cell of a method at a place."""
        return {c.seed: c for c in self.cells if c.method == method and (c.snapshot, c.swap, c.level) == where}


def views(measured: Measured, cells: Sequence[Cell], rules: Rules) -> list[View]:
    """Return one view per dataset that was measured, in the order of the params file."""
    points, found = points_of(measured, cells), []
    for dataset in measured.grid.datasets:
        own = tuple(point for point in points if point.dataset == dataset)
        if not own:
            continue
        anchors = anchors_of(measured.of(dataset))
        scale = scale_of(own, anchors, measured.style, rules.max_style_ratio)
        methods = dict.fromkeys(point.method for point in own)
        chosen = {method: recommended([p for p in own if p.method == method], scale) for method in methods}
        mine = tuple(cell for cell in cells if cell.dataset == dataset)
        found.append(View(dataset, rules, measured.fid, scale, anchors, mine, own, chosen))
    return found


def mean_over_seeds(rows: Sequence[Floats]) -> Floats:
    """Average one row of numbers per seed, place by place."""
    mean: Floats = np.mean(np.stack(rows), axis=0)
    return mean


def purpose(*names: str) -> int:
    """Return the seed of resamples: the same for the same purpose, whatever else is computed."""
    return int(hashlib.sha256("/".join(names).encode()).hexdigest()[:15], 16)
