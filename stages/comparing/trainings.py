"""What the trainings of a comparison left behind: curves, which snapshot was kept, and the last sample sheet."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError
from stages.comparing.reading import Grid

POINTS = 60  # ticks are averaged down to this many points, so that a long training stays readable
STATS = ("d_loss", "g_loss", "real_sign", "ada_p", "technique_loss", "r1")  # columns of stats.csv that are kept
JUDGED = {"kid": 1000.0, "nn_ratio": 1.0}  # columns of snapshots.csv and what they are multiplied by
Series = list[list[float]]  # [kimg, value]


def read_trainings(trained: Path, grid: Grid) -> list[dict[str, Any]]:
    """Read the statistics of every training of ``grid`` below ``trained``; those that are not there are left out.

    Raises: CorruptInputError naming a file that is no table of numbers.
    """
    found = []
    for dataset, method, seed in product(grid.datasets, grid.methods, grid.seeds):
        folder = trained / f"{method}-{dataset}-{seed}"
        if (folder / "stats.csv").is_file():
            stats, kimg = _stats(folder / "stats.csv")
            judged, marks = _snapshots(folder / "snapshots.csv")
            found.append({
                "method": method, "dataset": dataset, "seed": seed, "kimg": kimg, "kept": marks.get("kept"),
                "stopped": marks.get("stopped"), "stats": stats | judged,
            })  # fmt: skip
    return found


def last_sample(trained: Path, method: str, dataset: str, seed: str) -> Path | None:
    """Return the last sample sheet of a training; None without one."""
    sheets = sorted((trained / f"{method}-{dataset}-{seed}" / "samples").glob("*.png"))
    return sheets[-1] if sheets else None


def _stats(path: Path) -> tuple[dict[str, Series], float]:
    """Return the curves of a training's ticks, and how many kimg it took."""
    rows = _rows(path, STATS)
    kimg = rows[-1]["kimg"] if rows else 0.0
    ends = [0.0, *(row["kimg"] for row in rows)]
    if len(rows) > 1 and ends[-1] - ends[-2] < (ends[-2] - ends[-3]) / 2:
        rows = rows[:-1]  # the rest of a tick: a few batches are noise beside averages of many, and some have no R1
    series: dict[str, Series] = {}
    for row in rows:
        for name in row.keys() - {"kimg"}:
            series.setdefault(name, []).append([row["kimg"], row[name]])
    return {name: _thinned(series[name]) for name in STATS if name in series}, kimg


def _snapshots(path: Path) -> tuple[dict[str, Series], dict[str, float]]:
    """Return the curves of snapshots and the kimg of each mark; nothing of a training without them."""
    if not path.is_file():
        return {}, {}
    rows = _rows(path, JUDGED)
    series = {
        name: [[row["kimg"], factor * row[name]] for row in rows if name in row] for name, factor in JUDGED.items()
    }
    with path.open(newline="") as file:
        texts = [row.get("marks") or "" for row in csv.DictReader(file)]
    marks = {mark: row["kimg"] for row, text in zip(rows, texts, strict=True) for mark in text.split()}
    return series, marks


def _rows(path: Path, names: Iterable[str]) -> list[dict[str, float]]:
    """Read the kimg and the finite numbers among ``names`` of every row."""
    try:
        with path.open(newline="") as file:
            table = list(csv.DictReader(file))
        numbers = [(float(row["kimg"]), {name: float(row[name]) for name in names if row.get(name)}) for row in table]
    except (ValueError, KeyError) as error:
        raise CorruptInputError(f"{path}: not the statistics of a training ({error}); train again") from error
    return [{"kimg": kimg} | {name: v for name, v in row.items() if math.isfinite(v)} for kimg, row in numbers]


def _thinned(series: Series) -> Series:
    step = math.ceil(len(series) / POINTS)
    bins = [series[start : start + step] for start in range(0, len(series), step)]
    return [[part[-1][0], sum(value for _, value in part) / len(part)] for part in bins]
