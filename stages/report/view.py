"""A comparison as the page looks at it: points (means over seeds) and how sure each number is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from model.errors import CorruptInputError
from model.metrics.names import parse
from stages.comparing.likeness import SIMILARITY
from stages.comparing.points import Point as MeanPoint
from stages.comparing.table import Cell, Floats, Table
from stages.comparing.words import number, readable
from stages.report.words import blocks, column, measured_by

Z95 = 1.959964  # of a standard normal distribution: 95 % lie within


@dataclass(frozen=True)
class Point(MeanPoint):
    """A point as the table keeps it (an entry of findings.points), with what the comparison found of it."""

    dominated: bool
    recommended: bool

    @property
    def file(self) -> str:
        """Name of its strip of tiles, without suffix."""
        own = f"{self.swap}-{self.level}"
        return f"{self.snapshot}/{own}" if self.snapshot else own


class Spread(NamedTuple):
    """How sure a number is."""

    low: float
    high: float
    seeds: int  # over which it is mean -+ standard deviation; 0: a 95 % interval within one training


@dataclass(frozen=True)
class View:
    """The table with its points read."""

    table: Table
    points: tuple[Point, ...]

    @property
    def style(self) -> str:
        """Key of the metric that ranks style."""
        return self.table.about.style

    @property
    def datasets(self) -> list[str]:
        """Those with points, in the order of the params file."""
        return [d for d in self.table.about.datasets if any(p.dataset == d for p in self.points)]

    @property
    def kinds(self) -> Mapping[str, Any]:
        """Section swap.kinds of the params file."""
        found: Mapping[str, Any] = self.table.about.settings.get("kinds", {})
        return found

    def of(self, dataset: str, method: str | None = None) -> list[Point]:
        """Return the points of a dataset (and method): snapshots as swept, no swap first, kinds, levels ascending."""
        found = [p for p in self.points if p.dataset == dataset and method in (None, p.method)]
        methods, snapshots = list(self.table.about.methods), list(dict.fromkeys(p.snapshot for p in self.points))
        kinds = ["none", *dict.fromkeys(p.swap for p in self.points if p.swap != "none")]
        return sorted(
            found,
            key=lambda p: (methods.index(p.method), snapshots.index(p.snapshot), kinds.index(p.swap), p.level),
        )

    def methods(self, dataset: str) -> list[str]:
        """Return the methods with points, in the order of the params file."""
        return list(dict.fromkeys(p.method for p in self.of(dataset)))

    def plain(self, dataset: str, method: str) -> Point | None:
        """Return a method's main snapshot without a swap."""
        return next((p for p in self.of(dataset, method) if p.swap == "none"), None)

    def recommended(self, dataset: str, method: str) -> Point | None:
        """Return a method's recommended point; without a recommendation its main snapshot without a swap."""
        found = next((p for p in self.of(dataset, method) if p.recommended), None)
        return found or self.plain(dataset, method)

    def anchor(self, dataset: str, name: str) -> dict[str, float]:
        """Return the numbers of ``source``, ``shuffled`` or ``real_split``; similarity is 1 and 0 by definition."""
        by_definition = {"source": {SIMILARITY: 1.0}, "shuffled": {SIMILARITY: 0.0}}.get(name, {})
        return by_definition | self.table.about.anchors.get(dataset, {}).get(name, {})

    def floor(self, dataset: str) -> float:
        """Return the smallest value of style worth telling apart: the lower end of log axes."""
        found = self.table.about.findings.get("floors", {}).get(dataset)
        return max(float(found), 1e-6) if found is not None else 1e-6

    def limit(self, dataset: str) -> float | None:
        """Return the largest value of style that still looks drawn."""
        found = self.table.about.findings.get("limits", {}).get(dataset)
        return None if found is None else float(found)

    def words(self, point: Point) -> str:
        """Return the swap of a point, and its snapshot where there are several: ``weights up to 16 px``."""
        text = blocks(self.kinds, point.swap, point.level)
        return f"{text}, snapshot {readable(point.snapshot)}" if point.snapshot else text

    def spread(self, point: Point, key: str) -> Spread | None:
        """Return how sure a number is: over seeds where there are several, else a 95 % interval; None if unknown."""
        value = point.mean.get(key)
        if value is None:
            return None
        if key in point.sd:
            return Spread(value - point.sd[key], value + point.sd[key], point.seeds)
        ends = [point.mean.get(_suffixed(key, end)) for end in ("_low", "_high")]
        if ends[0] is not None and ends[1] is not None:
            return Spread(ends[0], ends[1], 0)
        error = point.mean.get(_suffixed(key, "_std"))
        if error is None and key == SIMILARITY:
            error = self._error_of_similarity(point)
        return None if error is None else Spread(value - Z95 * error, value + Z95 * error, 0)

    def text(self, point: Point, key: str) -> str:
        """Return a number with what is known of its spread: ``0.612 (0.60 to 0.63)``, ``0.612 ± 0.004``."""
        digits, value, spread = column(key).digits, point.mean.get(key), self.spread(point, key)
        text = number(value, digits)
        if spread is None:
            return text
        if spread.seeds:
            return f"{text} ± {number((spread.high - spread.low) / 2, digits)}"
        return f"{text} ({number(spread.low, digits)} to {number(spread.high, digits)})"

    def extractor(self) -> str:
        """Return the name of the extractor behind the style metric."""
        return parse(self.style).extractor

    def _error_of_similarity(self, point: Point) -> float | None:
        """Return the standard error of the mean of the parts' lifts over pairs, for a point of a single seed."""
        about = self.table.about
        source, shuffled = (about.anchors.get(point.dataset, {}).get(n, {}) for n in ("source", "shuffled"))
        cells = [cell for cell in self.table.cells if _same(cell, point)]
        parts: list[Floats] = []
        for measure in about.measures:
            best, floor = source.get(measure), shuffled.get(measure)
            if len(cells) != 1 or measure not in cells[0].pairs or best is None or floor is None or best == floor:
                return None
            parts.append((cells[0].pairs[measure] - floor) / (best - floor))
        if not parts or len({len(part) for part in parts}) != 1 or len(parts[0]) < 2:
            return None
        lifts = sum(parts[1:], start=parts[0]) / len(parts)
        return float(lifts.std(ddof=1)) / math.sqrt(len(lifts))


def view_of(table: Table) -> View:
    """Read the points of a table.

    Raises: CorruptInputError if its findings are not as the page needs them.
    """
    names = [field.name for field in fields(Point)]
    try:
        points = tuple(Point(**{name: entry[name] for name in names}) for entry in table.about.findings["points"])
    except (KeyError, TypeError) as error:
        message = (
            f"table.parquet: no findings.points as the page needs them ({error!r}); run `dvc repro` to compare again"
        )
        raise CorruptInputError(message) from error
    strangers = sorted({p.method for p in points} - set(table.about.methods))
    if strangers:
        raise CorruptInputError(
            f"table.parquet: points of methods that it does not list: {strangers}; run `dvc repro` to compare again"
        )
    return View(table, points)


def heading(key: str) -> str:
    """Return a metric's label with number of images and extractor: ``KID x10³ (n = 1k, stylenet-0123abcd)``."""
    by = measured_by(key)
    return f"{column(key).label} ({by})" if by else column(key).label


def _same(cell: Cell, point: Point) -> bool:
    names = ("method", "dataset", "snapshot", "swap", "level")
    return all(getattr(cell, name) == getattr(point, name) for name in names)


def _suffixed(key: str, suffix: str) -> str:
    """Return ``cos_low[x]`` for ``cos[x]``."""
    base, bracket, rest = key.partition("[")
    return f"{base}{suffix}{bracket}{rest}"
