"""The Pareto figure of the page: marks and curves as plain geometry, for an SVG that answers hover and keyboard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.comparing.likeness import SIMILARITY
from stages.comparing.words import TIMES, number, readable
from stages.report.labels import place
from stages.report.look import shape
from stages.report.view import Point, View
from stages.report.words import GATES, column, measured_by

WIDE, HIGH = 660, 480  # of the view box
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 18, 54  # margins
SAME = 3.0  # distance of marks that hide each other
DASHES = ("", "7 4", "2 3", "9 3 2 3")  # of curves, by kind of swap
STRENGTHS = ("", "second", "later")  # classes of snapshots, the main one first


@dataclass(frozen=True)
class Frame:
    """From numbers to places: x linear, y logarithmic and cut off at ``floor``."""

    left: float
    right: float
    floor: float
    top: float

    def x(self, value: float) -> float:
        """Return the place of a similarity."""
        share = (value - self.left) / (self.right - self.left)
        return round(LEFT + share * (WIDE - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the place of a distance; what is below the floor lies on it."""
        share = math.log(max(value, self.floor) / self.floor) / math.log(self.top / self.floor)
        return round(HIGH - BOTTOM - share * (HIGH - BOTTOM - TOP), 1)


def scatter(view: View, dataset: str, key: str) -> dict[str, Any] | None:
    """Return the figure of a dataset with the metric ``key`` upwards; None if no point has both numbers."""
    points = [p for p in view.of(dataset) if SIMILARITY in p.mean and key in p.mean]
    if not points:
        return None
    frame = _frame(view, dataset, key, points)
    marks = [_mark(view, point, key, frame) | {"order": order} for order, point in enumerate(points)]
    for mark in marks:
        mark["lines"] = [*mark["lines"], *_company(mark, marks)]
    marks.sort(key=lambda mark: mark["ring"])  # what is recommended is drawn last, on top
    anchors = _anchors(view, dataset, key, frame)
    labels = place(marks, anchors, (LEFT, TOP, WIDE - RIGHT, HIGH - BOTTOM))
    return {
        "key": key, "label": column(key).label, "by": measured_by(key), "wide": WIDE, "high": HIGH,
        "left": LEFT, "right": WIDE - RIGHT, "top": TOP, "bottom": HIGH - BOTTOM,
        "curves": list(_curves(view, points, key, frame)), "marks": marks, "labels": labels, "anchors": anchors,
        "x_ticks": [{"at": frame.x(v), "text": f"{v:g}".replace("-", "\N{MINUS SIGN}")} for v in _linear(frame)],
        "y_ticks": [{"at": frame.y(v), "text": f"{v:g}"} for v in _logarithmic(frame)],
    }  # fmt: skip


def _frame(view: View, dataset: str, key: str, points: Sequence[Point]) -> Frame:
    values = [p.mean[key] for p in points]
    source = view.anchor(dataset, "source").get(key)
    lowest = max(min(values), 1e-6)
    # A floor far below every point would squeeze them into a corner.
    floor = max(view.floor(dataset) if key == view.style else 0.0, lowest / 2.2)
    left = min([0.0, *(p.mean[SIMILARITY] for p in points)])
    return Frame(left - 0.03, 1.04, min(floor, lowest), 1.35 * max([*values, source or 0.0, 2 * floor]))


def _mark(view: View, point: Point, key: str, frame: Frame) -> dict[str, Any]:
    x, y = frame.x(point.mean[SIMILARITY]), frame.y(point.mean[key])
    across, up = view.spread(point, SIMILARITY), view.spread(point, key)
    return {
        "x": x, "y": y, "shape": shape(point.level), "level": point.level, "method": _index(view, point),
        "name": readable(point.method), "hollow": point.dominated, "ring": point.recommended,
        "strength": _strength(view, point), "failing": not point.ranked,
        "across": [frame.x(across.low), frame.x(across.high)] if across else [],
        "up": [frame.y(up.high), frame.y(up.low)] if up else [],
        "lines": _lines(view, point),
    }  # fmt: skip


def _company(mark: dict[str, Any], marks: Sequence[dict[str, Any]]) -> list[str]:
    """Return, in a line, whose marks are hidden under this one."""
    others = [m for m in marks if m is not mark and math.dist((m["x"], m["y"]), (mark["x"], mark["y"])) < SAME]
    return ["also here: " + "; ".join(m["lines"][0] for m in others)] if others else []


def _lines(view: View, point: Point) -> list[str]:
    """Return what is said of a point when it is pointed at."""
    about, state = view.table.about, []
    lines = [f"{readable(point.method)}, {view.words(point)}"]
    for key in (view.style, about.fid, SIMILARITY):
        if key in point.mean:
            lines.append(f"{column(key).label}: {view.text(point, key)}")
    spread = view.spread(point, SIMILARITY)
    if spread is not None:
        lines.append(
            f"\N{PLUS-MINUS SIGN}: sd over {spread.seeds} seeds" if spread.seeds else "in brackets: 95 % interval"
        )
    state += ["recommended"] * point.recommended + ["dominated"] * point.dominated
    gates = [f"{GATES.get(name, readable(name))}: {value}" for name, value in sorted(point.gates.items())]
    lines += [", ".join(gates)] if gates else []
    return lines + ([", ".join(state)] if state else []) + (["not ranked: it fails a gate"] if not point.ranked else [])


def _curves(view: View, points: Sequence[Point], key: str, frame: Frame) -> Iterable[dict[str, Any]]:
    """Yield one curve per method, snapshot and kind, from no swap through its levels."""
    kinds = list(dict.fromkeys(p.swap for p in points if p.swap != "none"))
    for method, snapshot in dict.fromkeys((p.method, p.snapshot) for p in points):
        mine = [p for p in points if (p.method, p.snapshot) == (method, snapshot)]
        start = [p for p in mine if p.swap == "none"]
        for index, kind in enumerate(kinds):
            along = start + [p for p in mine if p.swap == kind]
            if len(along) > 1:
                path = "L".join(f"{frame.x(p.mean[SIMILARITY])} {frame.y(p.mean[key])}" for p in along)
                dash = DASHES[index % len(DASHES)]
                yield {
                    "path": f"M{path}", "dash": dash, "method": _index(view, along[0]),
                    "strength": _strength(view, along[0]),
                }  # fmt: skip


def _anchors(view: View, dataset: str, key: str, frame: Frame) -> dict[str, Any]:
    """Return what the points lie between: source, somebody else's face, real drawings, and where drawing ends."""
    source, real = (view.anchor(dataset, name).get(key) for name in ("source", "real_split"))
    limit = view.limit(dataset) if key == view.style else None
    ratio = f"{limit / source:.2g} {TIMES} the source's: drawn below" if limit and source else "drawn below"
    return {
        "source": {"x": frame.x(1.0), "y": frame.y(source), "text": number(source, 0)} if source else None,
        "nobody": frame.x(0.0),
        "real": {"y": frame.y(real), "text": number(real, column(key).digits), "below": real < frame.floor}
        if real is not None else None,
        "limit": {"y": frame.y(limit), "text": ratio} if limit and frame.floor < limit < frame.top else None,
    }  # fmt: skip


def _linear(frame: Frame) -> list[float]:
    step = 0.2 if frame.right - frame.left < 2 else 0.5
    first = math.ceil(frame.left / step)
    return [round(n * step, 6) + 0.0 for n in range(first, math.floor(frame.right / step) + 1)]


def _logarithmic(frame: Frame) -> list[float]:
    """Return round numbers on a log axis: 1, 2, 5 of each decade, or 1 alone where there are many."""
    low, high = math.floor(math.log10(frame.floor)), math.ceil(math.log10(frame.top))
    factors = (1, 2, 5) if high - low <= 4 else (1,)
    found = (round(f * 10.0**n, 9) for n in range(low, high + 1) for f in factors)
    return [value for value in found if frame.floor <= value <= frame.top]


def _index(view: View, point: Point) -> int:
    return list(view.table.about.methods).index(point.method)


def _strength(view: View, point: Point) -> str:
    snapshots = list(dict.fromkeys(p.snapshot for p in view.points))
    return STRENGTHS[min(snapshots.index(point.snapshot), len(STRENGTHS) - 1)]
