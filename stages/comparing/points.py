"""Cells of all seeds as one point: what a method offers at one snapshot and swap level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from stages.comparing.likeness import SIMILARITY, variant
from stages.comparing.reading import VERDICTS, Evaluation, Measured
from stages.comparing.table import Cell
from stages.comparing.words import place

BY_DEFINITION = {"source": 1.0, "shuffled": 0.0}  # similarity of anchors
Place = tuple[str, str, int]  # snapshot, swap, level


@dataclass(frozen=True)
class Point:
    """Means over seeds, and standard deviations (n - 1) where there are several."""

    dataset: str
    method: str
    snapshot: str
    swap: str
    level: int
    seeds: int
    kimg: tuple[float, ...]  # of the snapshot, per seed
    mean: dict[str, float]  # metrics that every seed has
    sd: dict[str, float]
    gates: dict[str, str]  # the worst verdict over seeds

    @property
    def place(self) -> Place:
        """Return which cell of its method it is."""
        return self.snapshot, self.swap, self.level

    @property
    def ranked(self) -> bool:
        """Whether it may be ranked and recommended: no gate fails, and it has a similarity."""
        return "fail" not in self.gates.values() and SIMILARITY in self.mean

    def __str__(self) -> str:
        """Return the label of sheets and sentences."""
        return place(*self.place)


@dataclass(frozen=True)
class Scale:
    """How style is read on a dataset: which KID, on a logarithmic axis with a floor, because a KID may be below 0."""

    key: str
    floor: float  # differences below it cannot be told from chance
    source: float  # of the untuned source; not finite if unknown
    limit: float  # points of a larger KID no longer look drawn

    def style(self, point: Point) -> float:
        """Return a point's KID."""
        return point.mean[self.key]

    def log(self, value: float) -> float:
        """Return where a KID lies on the axis."""
        return math.log(max(value, self.floor))

    def drawn(self, point: Point) -> bool:
        """Whether a point still looks drawn."""
        return self.style(point) <= self.limit


def mean_points(cells: Iterable[Cell]) -> list[Point]:
    """Average cells over seeds, in the order in which they come."""
    groups: dict[tuple[str, str, Place], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.method, (cell.snapshot, cell.swap, cell.level)), []).append(cell)
    return [_point(dataset, method, where, group) for (dataset, method, where), group in groups.items()]


def _point(dataset: str, method: str, where: Place, cells: Sequence[Cell]) -> Point:
    rows = [cell.values for cell in cells]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    several = len(rows) > 1
    return Point(
        dataset, method, *where, len(cells), tuple(cell.kimg for cell in cells),
        {name: fmean(row[name] for row in rows) for name in names},
        {name: stdev(row[name] for row in rows) for name in names} if several else {},
        worst_gates(cells),
    )  # fmt: skip


def worst_gates(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the worst verdict of every gate over some cells."""
    names = dict.fromkeys(name for cell in cells for name in cell.gates)
    return {name: max((cell.gates[name] for cell in cells if name in cell.gates), key=VERDICTS.index) for name in names}


def points_of(measured: Measured, cells: Sequence[Cell]) -> list[Point]:
    """Return all points in the order of the report: datasets, methods, snapshots, kinds of swap, levels."""
    grid, found = measured.grid, mean_points(cells)
    snapshots = list(dict.fromkeys(point.snapshot for point in found))
    kinds = list(dict.fromkeys(["none", *(point.swap for point in found)]))

    def order(point: Point) -> tuple[int, int, int, int, int]:
        row = (grid.datasets.index(point.dataset), grid.methods.index(point.method))
        return *row, snapshots.index(point.snapshot), kinds.index(point.swap), point.level

    return sorted(found, key=order)


def unswapped(points: Iterable[Point]) -> Point | None:
    """Return the main snapshot without a swap: where a method starts from."""
    return next((point for point in points if point.swap == "none"), None)


def anchors_of(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
    """Return the anchors of a dataset: means over its evaluations, and the similarity that they have by definition."""
    names = dict.fromkeys(name for evaluation in evaluations for name in evaluation.anchors)
    means = {}
    for name in names:
        rows = [evaluation.anchors[name] for evaluation in evaluations if name in evaluation.anchors]
        means[name] = {
            metric: fmean(row[metric] for row in rows) for metric in rows[0] if all(metric in row for row in rows)
        }
        means[name] |= {SIMILARITY: BY_DEFINITION[name]} if name in BY_DEFINITION else {}
    return means


def scale_of(points: Sequence[Point], anchors: dict[str, dict[str, float]], key: str, share: float) -> Scale:
    """Return how style is read on a dataset.

    The floor is the largest standard error of the KID of methods that draw without a swap, and of real images beside
    real images (which estimates 0: how far it misses counts, too). Others are left out: the error grows with the KID.

    Args:
        points: of the dataset.
        anchors: of the dataset.
        key: name of the KID.
        share: ``compare.max_style_ratio``.
    """
    error = variant(key, "_std")
    source, split = anchors.get("source", {}).get(key, math.inf), anchors.get("real_split", {})
    drawn = [point for point in points if point.swap == "none" and point.mean[key] <= share * source]
    errors = [point.mean[error] for point in drawn if error in point.mean]
    errors += [split[error]] if error in split else []
    errors += [abs(split[key])] if key in split else []
    told = max(errors, default=0.0) or min((p.mean[key] for p in points if p.mean[key] > 0), default=1.0)
    return Scale(key, told, source, share * source)
