"""The ladder: likeness and distance from style at every swap level, a line per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stages.comparing.likeness import SIMILARITY
from stages.comparing.palette import colours
from stages.comparing.words import readable
from stages.report.canvas import Pixels, draw
from stages.report.look import Theme, line, marker
from stages.report.view import Point, View
from stages.report.words import column

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure(view: View, dataset: str, theme: Theme) -> Pixels | None:
    """Draw the ladder of a dataset's main snapshot.

    Returns: uint8 ``[H, W, 3]``, or None where nothing was swapped at a level.
    """
    points = view.of(dataset)
    points = [p for p in points if p.snapshot == points[0].snapshot and {SIMILARITY, view.style} <= p.mean.keys()]
    if not any(p.level for p in points):
        return None
    return draw((5.9, 4.5), theme, lambda fig: _figure(fig, view, points, theme))


def _figure(fig: Figure, view: View, points: Sequence[Point], theme: Theme) -> None:
    panels = fig.subplots(1, 2)
    fig.subplots_adjust(0.075, 0.29, 0.985, 0.82, wspace=0.22)
    fig.text(0.012, 0.978, "Over the swap level", fontsize=13, fontweight="bold", va="top")
    hues = colours(list(view.table.about.methods))
    levels = [0, *sorted({p.level for p in points if p.level})]
    for axes, key in zip(panels, (SIMILARITY, view.style), strict=True):
        _panel(axes, points, (key, levels), hues)
        axes.set_xticks(range(len(levels)), ["none", *(str(level) for level in levels[1:])])
        axes.tick_params(labelsize=9.5)
        axes.set_xlabel("source's blocks up to, px", fontsize=9.5)
    panels[0].set_title("similarity, up is closer", loc="left", fontsize=10, fontweight="normal")
    panels[1].set_title(f"{column(view.style).label}, down is closer", loc="left", fontsize=10, fontweight="normal")
    panels[0].set_ylim(min(0.0, *(p.mean[SIMILARITY] for p in points)) - 0.03, 1.03)
    _style_axis(panels[1], view, points, theme)
    _legend(fig, view, points, hues)


def _panel(axes: Axes, points: Sequence[Point], shown: tuple[str, list[int]], hues: Mapping[str, str]) -> None:
    key, levels = shown
    kinds = dict.fromkeys(p.swap for p in points if p.level)
    for method in dict.fromkeys(p.method for p in points):
        mine = [p for p in points if p.method == method]
        for kind in kinds:
            along = [p for p in mine if p.swap == "none"] + [p for p in mine if p.swap == kind and p.level]
            xs, ys = [levels.index(p.level) for p in along], [p.mean[key] for p in along]
            axes.plot(xs, ys, color=hues[method], linestyle=line(kind), linewidth=1.6, alpha=0.85)
        for p in (p for p in mine if p.level or p.swap == "none"):
            x, y = levels.index(p.level), p.mean[key]
            axes.plot(x, y, color=hues[method], marker=marker(p.level), markersize=5.5)
            if p.recommended:
                axes.plot(x, y, marker="o", markersize=13, markerfacecolor="none", markeredgecolor=hues[method])


def _style_axis(axes: Axes, view: View, points: Sequence[Point], theme: Theme) -> None:
    """Make the style axis logarithmic from the floor, and say how far up pictures still look drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    floor = max(view.floor(points[0].dataset), min(p.mean[view.style] for p in points) / 2)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(max(floor, 1e-6), 1.4 * max(2 * floor, *(p.mean[view.style] for p in points)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    limit = view.limit(points[0].dataset)
    if limit is not None:
        axes.axhline(limit, color=theme.faint, linestyle=(0, (1, 2)), linewidth=1.0)
        axes.annotate(
            "drawn below", (0.02, limit), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
            color=theme.faint, fontsize=9,
        )  # fmt: skip


def _legend(fig: Figure, view: View, points: Sequence[Point], hues: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    methods = view.methods(points[0].dataset)
    kinds = list(dict.fromkeys(p.swap for p in points if p.level))
    handles = [Line2D([], [], color=hues[m], linewidth=2.4) for m in methods]
    names = [readable(m) for m in methods]
    if len(kinds) > 1:
        handles += [Line2D([], [], color="#808890", linestyle=line(kind), linewidth=1.6) for kind in kinds]
        names += [f"{readable(kind)} swapped" for kind in kinds]
    fig.legend(
        handles,
        names,
        loc="lower center",
        ncol=3 if len(kinds) > 1 else 4,
        frameon=False,
        fontsize=10,
        columnspacing=1.2,
    )
