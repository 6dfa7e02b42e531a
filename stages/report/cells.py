"""What was measured: every ``metrics.json`` of the grid, checked, and its means over seeds."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from model.errors import CorruptInputError, MissingInputError
from model.files import verify_manifest
from stages.report.look import readable

SIMILARITY = "similarity"
LIKENESS = {"landmark_similarity": "landmark_nme_lift", "attribute_similarity": "attribute_mse_lift"}
FORMAT = 2
COORDINATES = ("snapshot", "kimg", "swap", "level")  # of a row of metrics.json; the rest is measured

Values = dict[str, float]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grid:
    """What the params file says has to be measured; the order is the order of the report."""

    profile: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[str, ...]


@dataclass(frozen=True)
class Swap:
    """What of the source is in a generator: how (none, weights, features), up to what resolution, in which snapshot."""

    kind: str
    level: int  # px, 0 for none
    snapshot: str = ""  # kept, best, last, 10_kimg; empty where a single one was swept

    @property
    def blocks(self) -> str:
        """What is swapped, in words."""
        return "no swap" if self.kind == "none" else f"{self.kind} up to {self.level} px"

    def __str__(self) -> str:
        """Return the label of sheets and sentences."""
        return f"{self.blocks}, snapshot {readable(self.snapshot)}" if self.snapshot else self.blocks


@dataclass(frozen=True)
class Cell:
    """One measured generator: a method on a dataset with a seed, one of its snapshots at one swap level."""

    method: str
    dataset: str
    seed: str
    swap: Swap
    kimg: float  # of the snapshot
    values: Values


@dataclass(frozen=True)
class Point:
    """Cells of all seeds: means, and standard deviations (n - 1) where there are several."""

    dataset: str
    method: str
    swap: Swap
    seeds: int
    mean: Values
    sd: Values
    kimg: tuple[float, ...] = ()  # of the snapshots, one per seed

    @property
    def snapshot(self) -> str:
        """Which snapshot it is, in words, with the kimg where the name does not say it."""
        name, found = readable(self.swap.snapshot), sorted({f"{kimg:.3g}" for kimg in self.kimg}, key=float)
        return name if not found or name.endswith("kimg") else f"{name} ({', '.join(found)} kimg)"


@dataclass(frozen=True)
class Evaluation:
    """One ``metrics.json``: the cells of one training."""

    folder: Path
    method: str
    dataset: str
    seed: str
    cells: tuple[Cell, ...]
    anchors: dict[str, Values]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Everything the report is made of."""

    grid: Grid
    evaluations: tuple[Evaluation, ...]
    missing: tuple[str, ...]  # of the grid, in words
    fid: str  # the metric the report ranks style by, with its extractor
    points: tuple[Point, ...] = field(repr=False)

    @property
    def snapshots(self) -> list[str]:
        """Return the names of the snapshots that were swept, the main one first; none where there was only one."""
        return list(dict.fromkeys(point.swap.snapshot for point in self.points if point.swap.snapshot))

    def of(self, dataset: str, method: str | None = None) -> list[Point]:
        """Return the points of a dataset (and method), in the order of the report."""
        return [p for p in self.points if p.dataset == dataset and method in (None, p.method)]

    def anchor(self, dataset: str, name: str) -> Values:
        """Return an anchor's values: means over the dataset's evaluations."""
        found = [e.anchors[name] for e in self.evaluations if e.dataset == dataset and name in e.anchors]
        return _means(found)

    def methods(self, dataset: str) -> list[str]:
        """Return the methods that were measured on a dataset, in the order of the params file."""
        measured = {p.method for p in self.of(dataset)}
        return [method for method in self.grid.methods if method in measured]


def read_comparison(evaluated: Path, grid: Grid) -> Comparison:
    """Read every evaluation of ``grid`` below ``evaluated``; what is not there is listed, not an error.

    Raises: MissingInputError if nothing of the grid was evaluated; CorruptInputError naming a file that is broken, or
        that cannot be compared with the others (another extractor, other latents, other image counts).
    """
    evaluations, missing = [], []
    for method, dataset, seed in product(grid.methods, grid.datasets, grid.seeds):
        folder = evaluated / f"{method}-{dataset}-{seed}"
        if (folder / "metrics.json").is_file():
            evaluations.append(_read(folder, (method, dataset, seed)))
        else:
            missing.append(f"{method} on {dataset}, seed {seed}: not run")
    if not evaluations:
        raise MissingInputError(
            f"{evaluated}: no metrics.json of this grid; run `dvc repro` to train and evaluate first"
        )
    known = {evaluation.folder.name for evaluation in evaluations}
    if strays := sorted(p.parent.name for p in evaluated.glob("*/metrics.json") if p.parent.name not in known):
        log.info("not in the params file, so left out: %s", ", ".join(strays))
    _check_comparable(evaluations)
    _check_snapshots(evaluations)
    missing += _missing_levels(evaluations)
    fid = _common_fid(evaluations)
    cells = [cell for evaluation in evaluations for cell in evaluation.cells]
    return Comparison(grid, tuple(evaluations), tuple(missing), fid, tuple(_points(cells, grid)))


def _read(folder: Path, key: tuple[str, str, str]) -> Evaluation:
    path = folder / "metrics.json"
    verify_manifest(folder)
    try:
        data = json.loads(path.read_text())
        if data["format"] != FORMAT:
            raise CorruptInputError(f"{path}: format {data['format']!r}, this version reads {FORMAT}; evaluate again")
        found = (data["method"], data["dataset"], data["seed"])
        anchors = {str(name): _numbers(values) for name, values in data["anchors"].items()}
        rows = [(_swap(row), float(row["kimg"]), _numbers(row)) for row in data["cells"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptInputError(
            f"{path}: not an evaluation ({type(error).__name__}: {error}); evaluate again"
        ) from error
    if found != key:
        raise CorruptInputError(f"{path}: is about {found}, but its folder says {key}; evaluate again")
    cells = tuple(Cell(*key, swap, kimg, values | likeness(values)) for swap, kimg, values in rows)
    facts = {name: value for name, value in data.items() if name not in ("cells", "anchors", "format")}
    return Evaluation(folder, *key, cells, anchors, facts)


def _swap(row: Mapping[str, Any]) -> Swap:
    return Swap(str(row["swap"]), int(row["level"]), str(row["snapshot"]))


def _numbers(values: Mapping[str, Any]) -> Values:
    """Keep the finite numbers; null means not measured."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value) and name not in COORDINATES
    }


def likeness(values: Values) -> Values:
    """How close to its source face a drawing is: 1 is the same face, 0 is no closer than another person's.

    ``landmark_similarity`` and ``attribute_similarity`` are the lifts of the landmark error (NME) and of the attribute
    error (MSE) over shuffled pairs: ``1 - error / error of drawings beside the wrong source face``, for the same cell.
    ``similarity`` is their mean. Neither is part of any method's loss.

    Args:
        values: metrics of a cell.

    Returns: the similarities that were measured; ``similarity`` only if both were.
    """
    lifts = {name: values[lift] for name, lift in LIKENESS.items() if lift in values}
    return lifts | ({SIMILARITY: fmean(lifts.values())} if len(lifts) == len(LIKENESS) else {})


def unswapped(points: Iterable[Point]) -> Point | None:
    """Return the main snapshot without a swap: where a method starts from."""
    return next((point for point in points if point.swap.kind == "none"), None)


def mean_points(cells: Iterable[Cell]) -> list[Point]:
    """Average cells over seeds, in the order in which they come."""
    groups: dict[tuple[str, str, Swap], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.method, cell.swap), []).append(cell)
    points = []
    for (dataset, method, swap), group in groups.items():
        values = [cell.values for cell in group]
        kimg = tuple(cell.kimg for cell in group)
        points.append(Point(dataset, method, swap, len(group), _means(values), _deviations(values), kimg))
    return points


def _points(cells: list[Cell], grid: Grid) -> list[Point]:
    kinds = {"none": 0, "weights": 1, "features": 2}
    snapshots = list(dict.fromkeys(cell.swap.snapshot for cell in cells))

    def place(point: Point) -> tuple[int, int, int, int, str, int]:
        swap, row = point.swap, (grid.datasets.index(point.dataset), grid.methods.index(point.method))
        return *row, snapshots.index(swap.snapshot), kinds.get(swap.kind, 3), swap.kind, swap.level

    return sorted(mean_points(cells), key=place)


def _means(rows: list[Values]) -> Values:
    """Mean of each key that every row has."""
    return {
        key: fmean(row[key] for row in rows) for key in (rows[0] if rows else {}) if all(key in row for row in rows)
    }


def _deviations(rows: list[Values]) -> Values:
    return {key: stdev(row[key] for row in rows) for key in _means(rows)} if len(rows) > 1 else {}


def _check_comparable(evaluations: list[Evaluation]) -> None:
    """Refuse to compare what was measured on different latents or different numbers of images."""
    for key, within in (("z_sha256", ""), ("n_gen", ""), ("n_pairs", ""), ("n_real", "dataset")):
        first: dict[str, Evaluation] = {}
        for evaluation in evaluations:
            other = first.setdefault(evaluation.dataset if within else "", evaluation)
            ours, theirs = evaluation.facts.get(key), other.facts.get(key)
            if ours != theirs:
                raise CorruptInputError(
                    f"{evaluation.folder / 'metrics.json'}: {key} is {ours!r}, but {theirs!r} in {other.folder.name}; "
                    "cells measured differently cannot be compared, evaluate both again"
                )


def _check_snapshots(evaluations: list[Evaluation]) -> None:
    """Refuse evaluations of different snapshots: a method with more of them would have more to choose from."""
    first = evaluations[0]
    for evaluation in evaluations:
        ours, theirs = (sorted(one.facts.get("snapshots", {})) for one in (evaluation, first))
        if ours != theirs:
            raise CorruptInputError(
                f"{evaluation.folder / 'metrics.json'}: snapshots {ours}, but {theirs} in {first.folder.name}; every "
                "method must offer the same ones, run `dvc repro` to swap and evaluate all again"
            )


def _missing_levels(evaluations: list[Evaluation]) -> list[str]:
    expected = list(dict.fromkeys(cell.swap for evaluation in evaluations for cell in evaluation.cells))
    return [
        f"{evaluation.method} on {evaluation.dataset}, seed {evaluation.seed}, {swap}: not run"
        for evaluation in evaluations
        for swap in expected
        if swap not in {cell.swap for cell in evaluation.cells}
    ]


def _common_fid(evaluations: list[Evaluation]) -> str:
    """Return the first ``fid[EXTRACTOR]`` that every cell has."""
    cells = [cell for evaluation in evaluations for cell in evaluation.cells]
    for key in cells[0].values if cells else ():
        if key.startswith("fid[") and all(key in cell.values for cell in cells):
            return key
    extractors = sorted({key for cell in cells for key in cell.values if key.startswith("fid[")})
    raise CorruptInputError(
        f"{evaluations[0].folder.parent}: no FID that every cell has (found {extractors or 'none'}); FIDs of different "
        "extractors cannot be compared, run `dvc repro` to evaluate all again"
    )
