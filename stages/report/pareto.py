"""The Pareto figure: similarity to the source against FID, a curve per method and snapshot through its swap levels."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.report.canvas import Pixels, draw
from stages.report.cells import SIMILARITY, Comparison, Point
from stages.report.claim import dominated
from stages.report.look import TIMES, LineStyle, Theme, colours, line, marker, readable
from stages.report.table import extractor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

STRENGTHS = (1.0, 0.55, 0.3)  # opacity of the main snapshot, the second, and all others
SIZE = (5.7, 6.0)  # inches: nearly square, so that the text is still readable at the width of a phone


@dataclass(frozen=True)
class Plot:
    """What one figure shows."""

    points: tuple[Point, ...]  # those with a similarity
    fid: str
    methods: tuple[str, ...]  # of the whole report, so that colours agree between figures
    chosen: tuple[Point, ...]  # recommended swap levels
    source_fid: float | None
    floor_fid: float | None
    limit: float  # FID up to which pictures count as drawn

    @property
    def snapshots(self) -> list[str]:
        """Names of the snapshots, the main one first."""
        return list(dict.fromkeys(point.swap.snapshot for point in self.points))

    def strength(self, snapshot: str) -> float:
        """Opacity of a snapshot's marks and curves."""
        return STRENGTHS[min(self.snapshots.index(snapshot), len(STRENGTHS) - 1)]


def plot_of(comparison: Comparison, dataset: str, chosen: Sequence[Point], limit: float) -> Plot | None:
    """Gather what the figure of a dataset shows; None if no cell has both a FID and a similarity."""
    points = tuple(p for p in comparison.of(dataset) if SIMILARITY in p.mean)
    if not points:
        return None
    source, floor = (comparison.anchor(dataset, name).get(comparison.fid) for name in ("source", "real_split"))
    mine = tuple(p for p in chosen if p.dataset == dataset)
    return Plot(points, comparison.fid, comparison.grid.methods, mine, source, floor, limit)


def title(dataset: str) -> str:
    """Return the line above the figure."""
    return f"{readable(dataset)}: style against likeness"


def as_csv(comparison: Comparison) -> str:
    """Return the figure's points (means over seeds) for ``dvc plots``."""
    buffer, swept = io.StringIO(), bool(comparison.snapshots)
    writer = csv.writer(buffer, lineterminator="\n")
    which = ["snapshot"] if swept else []
    writer.writerow(["dataset", "method", *which, "swap", "level", "similarity", "fid", "dominated"])
    for dataset in comparison.grid.datasets:
        points = [p for p in comparison.of(dataset) if SIMILARITY in p.mean]
        beaten = dominated(points, comparison.fid)
        for index, p in enumerate(points):
            numbers = [f"{p.mean[SIMILARITY]:.6g}", f"{p.mean[comparison.fid]:.6g}", int(index in beaten)]
            snapshot = [p.swap.snapshot] if swept else []
            writer.writerow([dataset, p.method, *snapshot, p.swap.kind, p.swap.level, *numbers])
    return buffer.getvalue()


def figure(plot: Plot, heading: str, theme: Theme) -> Pixels:
    """Draw the figure.

    Args:
        plot: what it shows.
        heading: one line above it.
        theme: light or dark.

    Returns: uint8 ``[H, W, 3]``; equal arguments give equal pixels.
    """
    return draw(SIZE, theme, lambda fig: _figure(fig, plot, heading, theme))


def _figure(fig: Figure, plot: Plot, heading: str, theme: Theme) -> None:
    axes = fig.add_axes((0.13, 0.315, 0.85, 0.63))
    axes.set_yscale("log")
    axes.set_title(heading, loc="left", pad=8)
    axes.set_xlabel("similarity to the source  (0: another person, 1: the same)")
    axes.set_ylabel(f"FID, log scale  ({extractor(plot.fid)})")
    _limits(axes, plot)
    hues = colours(plot.methods)
    beaten = dominated(plot.points, plot.fid)
    for method in plot.methods:
        _curves(axes, plot, method, hues[method])
    for index, point in enumerate(plot.points):
        _mark(axes, plot, point, hues[point.method], theme.ground if index in beaten else hues[point.method])
    _anchors(axes, plot, theme)
    _legends(fig, plot, theme)


def _limits(axes: Axes, plot: Plot) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    xs = [p.mean[SIMILARITY] for p in plot.points] + [1.0]
    fids = [p.mean[plot.fid] for p in plot.points] + [f for f in (plot.source_fid, _floor(plot)) if f]
    low, high = max(min(fids), 1e-3), max(max(fids), 2e-3)
    left = min(xs)
    left = min(left, 0.0) if left < 0.25 else left
    room = 0.06 * (1.0 - left)
    axes.set_xlim(left - room, 1.0 + room)
    factor = max(high / low, 1.5) ** 0.09
    axes.set_ylim(low / factor**1.4, high * factor**1.2)
    decades = math.log10(high / low)
    subs = (1.0,) if decades > 2.2 else (1.0, 2.0, 5.0) if decades > 1 else (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curves(axes: Axes, plot: Plot, method: str, colour: str) -> None:
    for snapshot in plot.snapshots:
        mine = [p for p in plot.points if p.method == method and p.swap.snapshot == snapshot]
        start = [p for p in mine if p.swap.kind == "none"]
        for kind in dict.fromkeys(p.swap.kind for p in mine if p.swap.kind != "none"):
            along = start + sorted((p for p in mine if p.swap.kind == kind), key=lambda p: p.swap.level)
            xs, ys = [p.mean[SIMILARITY] for p in along], [p.mean[plot.fid] for p in along]
            alpha = 0.75 * plot.strength(snapshot)
            axes.plot(xs, ys, color=colour, linestyle=line(kind), linewidth=1.6, alpha=alpha, zorder=2)


def _mark(axes: Axes, plot: Plot, point: Point, colour: str, fill: str) -> None:
    x, y = point.mean[SIMILARITY], point.mean[plot.fid]
    chosen, strength = point in plot.chosen, plot.strength(point.swap.snapshot)
    if point.sd:
        down = min(point.sd[plot.fid], 0.9 * y)  # a bar down to zero has no place on a log axis
        axes.errorbar(
            x, y, xerr=point.sd.get(SIMILARITY, 0.0), yerr=[[down], [point.sd[plot.fid]]], color=colour,
            alpha=0.4 * strength, linewidth=1.0, zorder=1,
        )  # fmt: skip
    axes.plot(
        x, y, marker=marker(point.swap.level), markersize=7.5, markerfacecolor=fill, markeredgecolor=colour,
        markeredgewidth=1.4, alpha=1.0 if chosen else strength, zorder=3 + strength,
    )  # fmt: skip
    if chosen:
        axes.plot(
            x, y, marker="o", markersize=16, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.3,
            zorder=3,
        )  # fmt: skip


def _anchors(axes: Axes, plot: Plot, theme: Theme) -> None:
    """Draw what the points lie between; each line's label goes where no point is."""
    lines = []
    if plot.source_fid:
        axes.plot(1.0, plot.source_fid, marker="*", markersize=15, color=theme.ink, zorder=5)
        axes.annotate(
            "source, untuned", (1.0, plot.source_fid), (-11, 0), textcoords="offset points", ha="right", va="center",
            color=theme.ink, fontsize=10,
        )  # fmt: skip
    if floor := _floor(plot):
        lines.append((floor, "drawn images against drawn images"))
    elif plot.floor_fid is not None:
        axes.annotate(
            f"drawn images against drawn images: FID {plot.floor_fid:.2g}, far below", (0.988, 0.014),
            xycoords="axes fraction", ha="right", va="bottom", color=theme.faint, fontsize=9,
        )  # fmt: skip
    if math.isfinite(plot.limit) and plot.source_fid:
        lines.append((plot.limit, f"{plot.limit / plot.source_fid:.3g} {TIMES} the source's FID: drawn below"))
    for y, label in lines:
        x, side = _free_side(axes, y)
        axes.axhline(y, color=theme.faint, linestyle=(0, (1, 2)), linewidth=1.0, zorder=0)
        axes.annotate(
            label, (x, y), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha=side, va="bottom",
            color=theme.faint, fontsize=9,
        )  # fmt: skip
    if axes.get_xlim()[0] < 0:
        axes.axvline(0.0, color=theme.faint, linestyle=(0, (1, 2)), linewidth=1.0, zorder=0)


def _floor(plot: Plot) -> float | None:
    """Return the FID floor if it is near enough to be drawn without squeezing the curves."""
    lowest = min(p.mean[plot.fid] for p in plot.points)
    return plot.floor_fid if plot.floor_fid is not None and plot.floor_fid > lowest / 3 else None


def _free_side(axes: Axes, y: float) -> tuple[float, str]:
    """Return the end of a horizontal line, left or right, where fewer curves run just above it."""
    low, high = (math.log(v) for v in axes.get_ylim())
    left, right = axes.get_xlim()
    crowd = {"left": 0, "right": 0}
    for drawn in axes.get_lines():
        xs, ys = (np.asarray(values, dtype=float) for values in drawn.get_data())
        along = np.linspace(0, len(xs) - 1, 12 * len(xs))
        across = (np.interp(along, range(len(xs)), xs) - left) / (right - left)
        above = (np.log(np.interp(along, range(len(ys)), np.maximum(ys, 1e-9))) - math.log(y)) / (high - low)
        near = across[(above > 0) & (above < 0.06)]
        crowd["left"] += int((near < 0.5).sum())
        crowd["right"] += int((near > 0.5).sum())
    return (0.012, "left") if crowd["left"] <= crowd["right"] else (0.988, "right")


def _legends(fig: Figure, plot: Plot, theme: Theme) -> None:
    from matplotlib.lines import Line2D

    hues = colours(plot.methods)
    drawn = [method for method in plot.methods if any(p.method == method for p in plot.points)]
    methods = [_handle(Line2D, hues[m], "-", "") for m in drawn]
    levels = sorted({p.swap.level for p in plot.points})
    marks = [_handle(Line2D, theme.ink, "none", marker(level)) for level in levels]
    names = [f"up to {level} px" if level else "no swap" for level in levels]
    kinds = list(dict.fromkeys(p.swap.kind for p in plot.points if p.swap.kind != "none"))
    marks += [_handle(Line2D, theme.ink, line(kind), "") for kind in kinds]
    names += [f"{kind} swapped" for kind in kinds]
    for snapshot in plot.snapshots if len(plot.snapshots) > 1 else []:
        marks.append(_handle(Line2D, theme.ink, "-", "o"))
        marks[-1].set_alpha(plot.strength(snapshot))
        names.append(f"snapshot {readable(snapshot)}")
    hollow = _handle(Line2D, theme.ink, "none", "o")
    hollow.set_markerfacecolor(theme.ground)
    ring = _handle(Line2D, theme.ink, "none", "o")
    ring.set(markerfacecolor="none", markersize=13, markeredgewidth=1.2)
    marks, names = [*marks, hollow, ring], [*names, "dominated", "recommended"]
    columns = 3 if len(marks) <= 12 else 4  # four lines of three have room below the figure
    common: dict[str, Any] = {
        "frameon": False,
        "loc": "upper center",
        "handletextpad": 0.4,
        "columnspacing": 1.2,
        "fontsize": 10.5 if columns == 3 else 8.5,
    }
    fig.legend(methods, [readable(m) for m in drawn], bbox_to_anchor=(0.52, 0.225), ncol=min(4, len(drawn)), **common)
    fig.legend(marks, names, bbox_to_anchor=(0.52, 0.175 if len(drawn) <= 4 else 0.14), ncol=columns, **common)


def _handle(kind: type[Line2D], colour: str, style: LineStyle, mark: str) -> Line2D:
    return kind([], [], color=colour, linestyle=style, marker=mark or None, markersize=7.5, linewidth=2.2)
