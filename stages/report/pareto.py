"""The Pareto figure as a file: similarity to the source against KID, a curve per method through its swap levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.comparing.likeness import SIMILARITY
from stages.comparing.palette import colours
from stages.comparing.words import number, readable
from stages.report.canvas import Pixels, draw
from stages.report.look import LineStyle, Theme, line, marker
from stages.report.view import Point, View, heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

STRENGTHS = (1.0, 0.55, 0.3)  # opacity of the main snapshot, the second, and all others
SIZE = (5.9, 6.0)  # inches: nearly square, so that the text is still readable at the width of a phone


def figure(view: View, dataset: str, theme: Theme) -> Pixels | None:
    """Draw the figure of a dataset.

    Returns: uint8 ``[H, W, 3]``, equal for equal tables; None if no point has both numbers.
    """
    points = [p for p in view.of(dataset) if SIMILARITY in p.mean and view.style in p.mean]
    return draw(SIZE, theme, lambda fig: _figure(fig, view, points, theme)) if points else None


def _figure(fig: Figure, view: View, points: Sequence[Point], theme: Theme) -> None:
    axes = fig.add_axes((0.125, 0.30, 0.855, 0.645))
    axes.set_title(f"{readable(points[0].dataset)}: style against likeness", loc="left", pad=8)
    axes.set_xlabel("similarity to the person  (0: somebody else, 1: the same)")
    axes.set_ylabel(f"{heading(view.style)}, log", fontsize=10.5)
    _limits(axes, view, points)
    hues = colours(list(view.table.about.methods))
    snapshots = list(dict.fromkeys(p.snapshot for p in points))
    strength = {s: STRENGTHS[min(i, len(STRENGTHS) - 1)] for i, s in enumerate(snapshots)}
    for method in view.methods(points[0].dataset):
        for snapshot in snapshots:
            mine = [p for p in points if (p.method, p.snapshot) == (method, snapshot)]
            _curves(axes, view, mine, (hues[method], strength[snapshot]))
    for point in sorted(points, key=lambda p: p.recommended):
        _mark(axes, view, point, (hues[point.method], strength[point.snapshot]), theme)
    _anchors(axes, view, points[0].dataset, theme)
    _legends(fig, view, points, (hues, strength), theme)


def _limits(axes: Axes, view: View, points: Sequence[Point]) -> None:
    """Log axis from just below the lowest point, but never from below the floor."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [p.mean[view.style] for p in points]
    source = view.anchor(points[0].dataset, "source").get(view.style, 0.0)
    lowest = max(min(values), 1e-6)
    floor = min(max(view.floor(points[0].dataset), lowest / 2.2), lowest)
    left = min([0.0, *(p.mean[SIMILARITY] for p in points)])
    axes.set_yscale("log", nonpositive="clip")
    axes.set_xlim(left - 0.04, 1.05)
    axes.set_ylim(floor, 1.35 * max(*values, source, 2 * floor))
    subs = (1.0, 2.0, 5.0) if math.log10(axes.get_ylim()[1] / floor) < 4 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curves(axes: Axes, view: View, mine: Sequence[Point], look: tuple[str, float]) -> None:
    colour, strength = look
    start = [p for p in mine if p.swap == "none"]
    for kind in dict.fromkeys(p.swap for p in mine if p.swap != "none"):
        along = start + [p for p in mine if p.swap == kind]
        xs, ys = [p.mean[SIMILARITY] for p in along], [p.mean[view.style] for p in along]
        axes.plot(xs, ys, color=colour, linestyle=line(kind), linewidth=1.6, alpha=0.75 * strength, zorder=2)


def _mark(axes: Axes, view: View, point: Point, look: tuple[str, float], theme: Theme) -> None:
    colour, strength = look
    x, y, lowest = point.mean[SIMILARITY], point.mean[view.style], axes.get_ylim()[0]
    across, up = view.spread(point, SIMILARITY), view.spread(point, view.style)
    style: dict[str, Any] = {"color": colour, "alpha": 0.45 * strength, "linewidth": 1.0, "zorder": 1}
    if across is not None:
        axes.plot([across.low, across.high], [max(y, lowest)] * 2, **style)
    if up is not None:
        axes.plot([x, x], [max(up.low, lowest), max(up.high, lowest)], **style)
    axes.plot(
        x, max(y, lowest), marker=marker(point.level), markersize=7.5, markeredgecolor=colour, markeredgewidth=1.4,
        markerfacecolor=theme.ground if point.dominated else colour, alpha=1.0 if point.recommended else strength,
        zorder=3 + strength, clip_on=False,
    )  # fmt: skip
    if point.recommended:
        axes.plot(
            x, max(y, lowest), marker="o", markersize=16, markerfacecolor="none", markeredgecolor=colour,
            markeredgewidth=1.3, zorder=3,
        )  # fmt: skip


def _anchors(axes: Axes, view: View, dataset: str, theme: Theme) -> None:
    """Draw what the points lie between."""
    source, real = (view.anchor(dataset, name).get(view.style) for name in ("source", "real_split"))
    limit, lowest = view.limit(dataset), axes.get_ylim()[0]
    dotted: dict[str, Any] = {"color": theme.faint, "linestyle": (0, (1, 2)), "linewidth": 1.0, "zorder": 0}
    note: dict[str, Any] = {"textcoords": "offset points", "color": theme.faint, "fontsize": 9}
    if source:
        axes.plot(1.0, source, marker="*", markersize=15, color=theme.ink, zorder=5, clip_on=False)
        axes.annotate(
            "source, untuned", (1.0, source), (-11, 0), textcoords="offset points", ha="right", va="center",
            color=theme.ink, fontsize=10,
        )  # fmt: skip
    axes.axvline(0.0, **dotted)
    if limit is not None and limit > lowest:
        axes.axhline(limit, **dotted)
        axes.annotate("drawn below", (0.01, limit), (0, 3), xycoords=("axes fraction", "data"), **note)
    if real is not None:
        below = real < lowest
        if not below:
            axes.axhline(real, **dotted)
        text = f"drawings against drawings: {number(real, 1)}{', below' if below else ''}"
        axes.annotate(text, (0.01, max(real, lowest)), (0, 4), xycoords=("axes fraction", "data"), **note)


def _legends(
    fig: Figure, view: View, points: Sequence[Point], looks: tuple[Mapping[str, str], Mapping[str, float]], theme: Theme
) -> None:
    from matplotlib.lines import Line2D

    hues, strength = looks
    methods = view.methods(points[0].dataset)
    named = [(_handle(Line2D, hues[m], "-", ""), readable(m)) for m in methods]
    levels = sorted({p.level for p in points})
    marks = [(_handle(Line2D, theme.ink, "none", marker(n)), f"up to {n} px" if n else "no swap") for n in levels]
    kinds = dict.fromkeys(p.swap for p in points if p.swap != "none")
    marks += [(_handle(Line2D, theme.ink, line(kind), ""), f"{readable(kind)} swapped") for kind in kinds]
    for snapshot in strength if len(strength) > 1 else []:
        marks.append((_handle(Line2D, theme.ink, "-", "o"), f"snapshot {readable(snapshot)}"))
        marks[-1][0].set_alpha(strength[snapshot])
    marks.append((_handle(Line2D, theme.ink, "none", "o"), "dominated"))
    marks[-1][0].set_markerfacecolor(theme.ground)
    marks.append((_handle(Line2D, theme.ink, "none", "o"), "recommended"))
    marks[-1][0].set(markerfacecolor="none", markersize=13, markeredgewidth=1.2)
    columns = 3 if len(marks) <= 12 else 4  # four lines of three have room below the figure
    common: dict[str, Any] = {"frameon": False, "loc": "upper center", "handletextpad": 0.4, "columnspacing": 1.2}
    size = 10.5 if columns == 3 else 8.5
    for pairs, height, wide in (
        (named, 0.215, min(4, len(named))),
        (marks, 0.165 if len(named) <= 4 else 0.13, columns),
    ):
        handles, names = zip(*pairs, strict=True)
        fig.legend(handles, names, bbox_to_anchor=(0.52, height), ncol=wide, fontsize=size, **common)


def _handle(kind: type[Line2D], colour: str, style: LineStyle, mark: str) -> Line2D:
    return kind([], [], color=colour, linestyle=style, marker=mark or None, markersize=7.5, linewidth=2.2)
