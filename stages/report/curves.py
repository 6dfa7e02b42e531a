"""Metrics over the training: one small panel per quantity, a colour per method, a line per seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.comparing.palette import colours
from stages.comparing.words import TIMES, readable
from stages.report.canvas import Pixels, draw
from stages.report.look import Theme
from stages.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SNAPSHOT_PANELS = {"kid": f"held-out KID {TIMES}10³ (ring: kept)", "nn_ratio": "NN ratio (ring: kept)"}
PANELS = SNAPSHOT_PANELS | {
    "real_sign": "mean sign of D on real images",
    "ada_p": "augmentation probability",
    "d_loss": "loss of the discriminator",
    "g_loss": "loss of the generator",
    "technique_loss": "the method's own loss",
    "r1": "R1: squared gradient norm",
}
MOST = 6  # panels
Training = Mapping[str, Any]
Series = Sequence[tuple[float, float]]  # kimg, value


def figure(view: View, dataset: str, theme: Theme) -> Pixels | None:
    """Draw the curves of one dataset's trainings.

    Returns: uint8 ``[H, W, 3]``, or None if there is nothing that moves.
    """
    trainings = [t for t in view.table.about.trainings if t["dataset"] == dataset]
    moving = [name for name in PANELS if any(_moves(t["stats"].get(name, [])) for t in trainings)][:MOST]
    if not moving:
        return None
    lines = math.ceil(len(moving) / 2)
    hues = colours(list(view.table.about.methods))
    return draw((5.9, 1.0 + 1.75 * lines), theme, lambda fig: _figure(fig, trainings, moving, hues))


def _figure(fig: Figure, trainings: Sequence[Training], moving: Sequence[str], hues: Mapping[str, str]) -> None:
    lines = math.ceil(len(moving) / 2)
    height = 1.0 + 1.75 * lines
    grid = fig.subplots(lines, 2, squeeze=False, sharex=True)
    fig.subplots_adjust(0.085, 0.86 / height, 0.985, 1 - 0.66 / height, wspace=0.22, hspace=0.38)
    fig.text(0.012, 1 - 0.1 / height, "Over the training", fontsize=13, fontweight="bold", va="top")
    for index, axes in enumerate(grid.flat):
        if index >= len(moving):
            axes.set_visible(False)
            continue
        _panel(axes, trainings, moving[index], hues)
        axes.tick_params(labelsize=9, labelbottom=index >= len(moving) - 2)
        if index >= len(moving) - 2:
            axes.set_xlabel("thousands of images shown", fontsize=9.5)
    _legend(fig, [m for m in hues if any(t["method"] == m for t in trainings)], hues)


def _panel(axes: Axes, trainings: Sequence[Training], name: str, hues: Mapping[str, str]) -> None:
    axes.set_title(PANELS[name], loc="left", fontsize=10, fontweight="normal")
    axes.margins(x=0.02)
    judged = name in SNAPSHOT_PANELS
    for training in trainings:
        series, hue = training["stats"].get(name, []), hues[training["method"]]
        if series:
            axes.plot(*zip(*series, strict=True), color=hue, linewidth=1.4, alpha=0.85, marker="." if judged else "")
        for x, y in series if judged else []:
            if x == training.get("kept"):
                axes.plot(x, y, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=hue, clip_on=False)
    if judged:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _legend(fig: Figure, methods: Sequence[str], hues: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=hues[m], linewidth=2.4) for m in methods]
    fig.legend(
        handles, [readable(m) for m in methods], loc="lower center", ncol=4, frameon=False, fontsize=10,
        columnspacing=1.2,
    )  # fmt: skip


def _moves(series: Series) -> bool:
    return len({value for _, value in series}) > 1
