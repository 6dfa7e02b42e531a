"""The comparison as a table: one row per cell (CSV), means over seeds (Markdown and the page)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stages.report.cells import SIMILARITY, Comparison, Point, Values
from stages.report.look import MINUS, NONE, TIMES

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Column:
    """How a metric is shown; ``key`` is its name up to an extractor in brackets."""

    key: str
    label: str
    better: Better
    digits: int
    hint: str


# Metrics of the page and the Markdown table, in order; the CSV file has them all. Without a better side: not ranked.
SHOWN = (
    Column("fid", "FID", "lower", 1, "Fréchet distance to the drawn images that were trained on"),
    Column(
        "fid_heldout",
        "held-out FID",
        "lower",
        1,
        "the same to drawn images that no training saw; fewer, so higher. A snapshot chosen by its KID to these very "
        "images makes it slightly too good; FID and KID have no part in the choice",
    ),
    Column("kid_x1e3", f"KID {TIMES}10³", "lower", 2, "kernel distance to the drawn images, unbiased for small sets"),
    Column("precision", "precision", "higher", 3, "share of generated images that lie among the drawn ones"),
    Column("recall", "recall", "higher", 3, "share of drawn images that lie among the generated ones"),
    Column("coverage", "coverage", "higher", 3, "share of drawn images with a generated one nearby"),
    Column(
        SIMILARITY, "similarity", "higher", 3, "1 is the same face, 0 another one: mean of the lifts of the next two"
    ),
    Column("landmark_nme", "landmark NME", "lower", 3, "mean landmark distance to the source, over its eye distance"),
    Column("attribute_mse", "attribute MSE", "lower", 3, "of normalised attributes; unrelated faces score about 2"),
    Column("edge_ssim", "edge SSIM", "higher", 3, "same lines in the same places, whatever the colours"),
    Column(
        "lowres_mse_8", "8 px MSE", "", 4, "RGB difference at 8 px; a structure loss trains on it, so it ranks nobody"
    ),
    Column(
        "nn_ratio",
        "NN ratio",
        "",
        2,
        "distance to the nearest training image, over that of held-out ones; below 0.7 suspect",
    ),
)
COPYING = 0.7  # nn_ratio below which training images come back
_ORDER = {column.key: index for index, column in enumerate(SHOWN)}
ANCHORS = {"source": "source, untuned", "shuffled": "shuffled pairs", "real_split": "drawn vs drawn"}


@dataclass(frozen=True)
class Entry:
    """One number of the table."""

    text: str
    spread: str  # standard deviation over seeds, or empty
    best: bool


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    method: str
    snapshot: str  # empty where a single one was swept
    swap: str
    seeds: int
    first: bool  # of its method
    chosen: bool  # the method's recommended swap level
    entries: tuple[Entry, ...]


def extractor(key: str) -> str:
    """Return what is in the brackets of ``fid[EXTRACTOR]``; empty for a metric without an extractor."""
    return key.partition("[")[2].rstrip("]")


def columns(comparison: Comparison) -> list[tuple[str, Column]]:
    """Return every metric that some cell has, with how it is shown: those of the page first."""
    keys = dict.fromkeys(
        key for evaluation in comparison.evaluations for cell in evaluation.cells for key in cell.values
    )
    known = {column.key: column for column in SHOWN}
    found = [(key, known.get(key.partition("[")[0], Column(key, key, "", 4, ""))) for key in keys]
    return sorted(found, key=lambda item: _ORDER.get(item[1].key, len(SHOWN)))


def shown_columns(comparison: Comparison) -> list[tuple[str, Column]]:
    """Return the metrics of the page and the Markdown table."""
    return [(key, column) for key, column in columns(comparison) if column.key in _ORDER]


def suspects(comparison: Comparison) -> list[str]:
    """Return, in words, the points that seem to copy training images: their FID flatters them."""
    found = []
    for point in comparison.points:
        ratios = [value for key, value in point.mean.items() if key.partition("[")[0] == "nn_ratio"]
        if ratios and min(ratios) < COPYING:
            found.append(f"{point.method} on {point.dataset}, {point.swap}: NN ratio {min(ratios):.2f}")
    return found


def rows(comparison: Comparison, dataset: str, chosen: Sequence[Point]) -> list[Row]:
    """Return the table of a dataset, the best value of each ranked column marked."""
    shown = shown_columns(comparison)
    points = comparison.of(dataset)
    best = {key: _best(points, key, column) for key, column in shown}
    found, last = [], ""
    for point in points:
        entries = []
        for key, column in shown:
            text = number(point.mean.get(key), column.digits)
            spread = number(point.sd.get(key), column.digits) if key in point.sd else ""
            entries.append(Entry(text, spread, text == best[key] and text != NONE))
        snapshot = point.snapshot if point.swap.snapshot else ""
        where = (point.method, snapshot, point.swap.blocks, point.seeds)
        found.append(Row(*where, point.method != last, point in chosen, tuple(entries)))
        last = point.method
    return found


def anchor_rows(comparison: Comparison, dataset: str) -> list[tuple[str, list[str]]]:
    """Return the anchors of a dataset: what the numbers are between."""
    shown = shown_columns(comparison)
    found = []
    for name, label in ANCHORS.items():
        if values := comparison.anchor(dataset, name):
            found.append((label, [number(_anchor_value(name, values, key), column.digits) for key, column in shown]))
    return found


def _anchor_value(name: str, values: Values, key: str) -> float | None:
    by_definition = {"source": 1.0, "shuffled": 0.0}
    if key.endswith(SIMILARITY) and name in by_definition:
        return by_definition[name]
    return values.get(key)


def _best(points: Sequence[Point], key: str, column: Column) -> str | None:
    values = [point.mean[key] for point in points if key in point.mean]
    if not values or not column.better or len(points) < 2:
        return None
    return number(min(values) if column.better == "lower" else max(values), column.digits)


def number(value: float | None, digits: int) -> str:
    """Return a number for people; a dash for none."""
    if value is None:
        return NONE
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def as_csv(comparison: Comparison) -> str:
    """Return one row per cell: method, dataset, seed, swap, level, then every metric at full precision.

    Where several snapshots were swept, two more columns say which one it is and its kimg.
    """
    keys, swept = [key for key, _ in columns(comparison)], bool(comparison.snapshots)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    which = ["snapshot", "kimg"] if swept else []
    writer.writerow(["method", "dataset", "seed", *which, "swap", "level", *keys])
    for evaluation in comparison.evaluations:
        for one in evaluation.cells:
            numbers = [f"{one.values[key]:.8g}" if key in one.values else "" for key in keys]
            snapshot = [one.swap.snapshot, f"{one.kimg:g}"] if swept else []
            where = [one.method, one.dataset, one.seed, *snapshot, one.swap.kind, one.swap.level]
            writer.writerow([*where, *numbers])
    return buffer.getvalue()


def as_markdown(comparison: Comparison, chosen: Sequence[Point]) -> str:
    """Return one Markdown table per dataset: means over seeds, best in bold, recommended swap levels with an arrow."""
    names = sorted({extractor(key) for key, _ in shown_columns(comparison) if "[" in key})
    lines = [f"Means over seeds. FID, KID, precision and recall on: {', '.join(f'`{name}`' for name in names)}.", ""]
    heads = [column.label for _, column in shown_columns(comparison)]
    if len(names) > 1:
        heads = [f"{c.label} `{extractor(key)}`" if "[" in key else c.label for key, c in shown_columns(comparison)]
    which = ["snapshot"] if comparison.snapshots else []
    for dataset in comparison.grid.datasets:
        if not comparison.of(dataset):
            continue
        lines += [
            f"### {cell(dataset)}",
            "",
            line(["method", *which, "swap", "seeds", *heads]),
            line(["---"] * (2 + len(which)) + ["--:"] * (len(heads) + 1)),
        ]
        for label, values in anchor_rows(comparison, dataset):
            lines.append(line([f"*{label}*", *([""] * (2 + len(which))), *values]))
        for row in rows(comparison, dataset, chosen):
            numbers = [f"**{e.text}**" if e.best else e.text for e in row.entries]
            numbers = [f"{n} ± {e.spread}" if e.spread else n for n, e in zip(numbers, row.entries, strict=True)]
            name = [cell(row.method), *([cell(row.snapshot)] if which else [])]
            lines.append(line([*name, row.swap + (" ←" if row.chosen else ""), str(row.seeds), *numbers]))
        lines.append("")
    lines += [f"- {cell(entry)}" for entry in comparison.missing]
    return "\n".join(lines).rstrip("\n") + "\n"


def line(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def cell(text: str) -> str:
    """Escape what Markdown or HTML in a name would do to a rendered table."""
    for char in "\\`*_|<>[]#":
        text = text.replace(char, f"\\{char}" if char not in "<>" else {"<": "&lt;", ">": "&gt;"}[char])
    return text.replace("\n", " ")
