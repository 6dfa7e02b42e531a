"""Training curves: what ``stats.csv`` and ``snapshots.csv`` say, one small panel per quantity, a colour per method."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.data.images import read_image
from model.errors import CorruptInputError
from stages.report.canvas import Pixels, draw
from stages.report.cells import Grid
from stages.report.look import TIMES, Theme, colours, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 60  # ticks are averaged down to this many points, so that a long training stays readable
PANELS = {
    "d_loss": "loss of the discriminator",
    "g_loss": "loss of the generator",
    "real_sign": "mean sign of D on real images",
    "ada_p": "augmentation probability",
    "technique_loss": "the method's own loss",
    "r1": "R1: squared gradient norm",
}
SNAPSHOT_PANELS = {"kid": f"held-out KID {TIMES}10³, ring: kept", "nn_ratio": "NN ratio, ring: kept"}
FACTORS = {"kid": 1000.0}  # of what is drawn to what the file says
Series = list[tuple[float, float]]  # kimg, value


@dataclass(frozen=True)
class Training:
    """What one training left behind."""

    method: str
    dataset: str
    seed: str
    stats: dict[str, Series]
    sample: Path | None  # its last sample sheet
    kimg: float
    kept: float | None = None  # kimg of the snapshot that was published
    stopped: float | None = None  # kimg at which it was ended because it memorised


def read_trainings(trained: Path, grid: Grid) -> list[Training]:
    """Read the statistics of every training of ``grid`` below ``trained``; those that are not there are left out."""
    found = []
    for dataset in grid.datasets:
        for method in grid.methods:
            for seed in grid.seeds:
                folder = trained / f"{method}-{dataset}-{seed}"
                if (folder / "stats.csv").is_file():
                    stats, kimg = _stats(folder / "stats.csv")
                    sheets = sorted((folder / "samples").glob("*.png"))
                    judged, marks = _snapshots(folder / "snapshots.csv")
                    last = sheets[-1] if sheets else None
                    marked = (marks.get("kept"), marks.get("stopped"))
                    found.append(Training(method, dataset, seed, stats | judged, last, kimg, *marked))
    return found


def last_sample(training: Training) -> Pixels | None:
    """Return the last sample sheet of a training."""
    return None if training.sample is None else read_image(training.sample)


def figure(trainings: Sequence[Training], methods: Sequence[str], title: str, theme: Theme) -> Pixels | None:
    """Draw the curves of one dataset's trainings.

    Args:
        trainings: of all methods and seeds.
        methods: of the whole report, so that colours agree between figures.
        title: one line above it.
        theme: light or dark.

    Returns: uint8 ``[H, W, 3]``, or None if there is nothing that moves.
    """
    known = SNAPSHOT_PANELS | PANELS
    panels = {name: label for name, label in known.items() if any(_moves(t.stats.get(name, [])) for t in trainings)}
    if not panels:
        return None
    lines = math.ceil(len(panels) / 2)
    return draw((5.7, 1.0 + 1.95 * lines), theme, lambda fig: _figure(fig, trainings, (methods, panels), title))


def _figure(
    fig: Figure, trainings: Sequence[Training], shown: tuple[Sequence[str], Mapping[str, str]], title: str
) -> None:
    methods, panels = shown
    lines = math.ceil(len(panels) / 2)
    height = 1.0 + 1.95 * lines
    grid = fig.subplots(lines, 2, squeeze=False, sharex=True)
    fig.subplots_adjust(0.1, 0.82 / height, 0.985, 1 - 0.72 / height, wspace=0.24, hspace=0.36)
    fig.text(0.02, 1 - 0.1 / height, title, fontsize=13, fontweight="bold", va="top")
    hues = colours(methods)
    for index, axes in enumerate(grid.flat):
        if index >= len(panels):
            axes.set_visible(False)
            continue
        name = list(panels)[index]
        axes.set_title(panels[name], loc="left", fontsize=10, fontweight="normal")
        axes.tick_params(labelsize=9, labelbottom=index >= len(panels) - 2)
        axes.margins(x=0.02)
        for training in trainings:
            _line(axes, training.stats.get(name, []), hues[training.method], "." if name in SNAPSHOT_PANELS else "")
            if name in SNAPSHOT_PANELS:
                _ring(axes, training, name, hues[training.method])
        if index >= len(panels) - 2:
            axes.set_xlabel("thousands of images shown", fontsize=9.5)
    from matplotlib.lines import Line2D

    drawn = [m for m in methods if any(t.method == m for t in trainings)]
    handles = [Line2D([], [], color=hues[m], linewidth=2.2) for m in drawn]
    fig.legend(
        handles, [readable(m) for m in drawn], loc="lower center", ncol=4, frameon=False, fontsize=10, columnspacing=1.2
    )


def _line(axes: Axes, series: Series, colour: str, mark: str) -> None:
    if series:
        xs, ys = [x for x, _ in series], [y for _, y in series]
        axes.plot(xs, ys, color=colour, linewidth=1.3, alpha=0.85, marker=mark)


def _ring(axes: Axes, training: Training, name: str, colour: str) -> None:
    """Mark the snapshot that was kept."""
    for x, y in training.stats.get(name, []):
        if x == training.kept:
            axes.plot(x, y, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=colour, clip_on=False)


def _moves(series: Series) -> bool:
    return len({value for _, value in series}) > 1


def _stats(path: Path) -> tuple[dict[str, Series], float]:
    """Return the curves of a training's ticks, and how many kimg it took."""
    rows = _rows(path, PANELS)
    kimg = rows[-1]["kimg"] if rows else 0.0
    ends = [0.0, *(row["kimg"] for row in rows)]
    if len(rows) > 1 and ends[-1] - ends[-2] < (ends[-2] - ends[-3]) / 2:
        rows = rows[:-1]  # the rest of a tick: a few batches are noise beside averages of many, and some have no R1
    series: dict[str, Series] = {}
    for row in rows:
        for name in row.keys() - {"kimg"}:
            series.setdefault(name, []).append((row["kimg"], row[name]))
    return {name: _thinned(values) for name, values in series.items()}, kimg


def _snapshots(path: Path) -> tuple[dict[str, Series], dict[str, float]]:
    """Return the curves of snapshots and the kimg of each mark; nothing of a training without them."""
    if not path.is_file():
        return {}, {}
    rows = _rows(path, SNAPSHOT_PANELS)
    series = {
        name: [(row["kimg"], FACTORS.get(name, 1.0) * row[name]) for row in rows if name in row]
        for name in SNAPSHOT_PANELS
    }
    with path.open(newline="") as file:
        texts = [row.get("marks") or "" for row in csv.DictReader(file)]
    marks = {mark: row["kimg"] for row, text in zip(rows, texts, strict=True) for mark in text.split()}
    return series, marks


def _rows(path: Path, names: Mapping[str, str]) -> list[dict[str, float]]:
    """Read the kimg and the finite numbers among ``names`` of every row."""
    try:
        with path.open(newline="") as file:
            table = list(csv.DictReader(file))
        numbers = [(float(row["kimg"]), {name: float(row[name]) for name in names if row.get(name)}) for row in table]
    except (ValueError, KeyError) as error:
        raise CorruptInputError(f"{path}: not the statistics of a training ({error}); train again") from error
    return [{"kimg": kimg} | {name: v for name, v in row.items() if math.isfinite(v)} for kimg, row in numbers]


def _thinned(series: Series) -> Series:
    step = math.ceil(len(series) / BINS)
    bins = [series[start : start + step] for start in range(0, len(series), step)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in bins]
