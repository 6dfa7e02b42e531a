"""What was measured: the evaluation of every training of the grid, read strictly and checked to be comparable."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError, MissingInputError
from model.files import verify_manifest
from model.metrics.names import key, parse
from stages.comparing.table import GATE, Cell, Floats
from stages.comparing.words import place
from stages.measuring.values import read_values

FORMAT = 3
COORDINATES = ("snapshot", "kimg", "swap", "level")  # of a row of metrics.json; the rest is measured
VERDICTS = ("pass", "alarm", "fail")  # of a gate, from good to bad
SAME = ("style", "z_sha256", "n_gen", "n_pairs", "n_blocks", "instruments")  # in every evaluation
SAME_DATA = ("n_real", "n_heldout", "lmdb_digest")  # in every evaluation of a dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grid:
    """What the params file says has to be measured; the order is the order of the report."""

    profile: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """The folder of one training."""

    folder: Path
    method: str
    dataset: str
    seed: str
    cells: tuple[Cell, ...]
    anchors: dict[str, dict[str, float]]
    facts: dict[str, Any]  # the rest of metrics.json


@dataclass(frozen=True)
class Measured:
    """Every evaluation of the grid."""

    grid: Grid
    evaluations: tuple[Evaluation, ...]
    missing: tuple[str, ...]  # of the grid, in words
    style: str  # key of the KID that ranks
    fid: str  # key of the FID on the same features

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return all cells in the order of the grid."""
        return tuple(cell for evaluation in self.evaluations for cell in evaluation.cells)

    @property
    def not_run(self) -> list[dict[str, str]]:
        """Return what no evaluation, or not every one, measured, each once."""
        return [
            dict(entry) for entry in dict.fromkeys(tuple(one.items()) for e in self.evaluations for one in _skipped(e))
        ]

    def of(self, dataset: str) -> list[Evaluation]:
        """Return the evaluations of a dataset."""
        return [evaluation for evaluation in self.evaluations if evaluation.dataset == dataset]


def read_evaluations(evaluated: Path, grid: Grid) -> Measured:
    """Read every evaluation of ``grid`` below ``evaluated``; what is not there is listed, not an error.

    Raises: MissingInputError if nothing of the grid was evaluated; CorruptInputError naming a file that is broken, or
        that cannot be compared with the others (other latents, image counts, data, instruments or snapshots).
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
    _check_same(evaluations)
    _check_snapshots(evaluations)
    style, fid = (_style(evaluations, family) for family in ("kid_x1e3", "fid"))
    return Measured(grid, tuple(evaluations), tuple(missing + _missing_cells(evaluations)), style, fid)


def _read(folder: Path, name: tuple[str, str, str]) -> Evaluation:
    path = folder / "metrics.json"
    verify_manifest(folder)
    try:
        data = json.loads(path.read_text())
        if data["format"] != FORMAT:
            raise CorruptInputError(f"{path}: format {data['format']!r}, this version reads {FORMAT}; evaluate again")
        found = (data["method"], data["dataset"], data["seed"])
        anchors = {str(anchor): numbers(values) for anchor, values in data["anchors"].items()}
        cells = [_cell(name, row) for row in data["cells"]]
        facts = {entry: data[entry] for entry in (*SAME, *SAME_DATA, "techniques", "snapshots", "weights", "made_with")}
        facts["not_run"] = [
            {"metric": str(one["metric"]), "reason": str(one["reason"])} for one in data.get("not_run", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptInputError(
            f"{path}: not an evaluation ({type(error).__name__}: {error}); evaluate again"
        ) from error
    if found != name:
        raise CorruptInputError(f"{path}: is about {found}, but its folder says {name}; evaluate again")
    return Evaluation(folder, *name, _with_values(folder, cells, facts), anchors, facts)


def _cell(name: tuple[str, str, str], row: Mapping[str, Any]) -> Cell:
    gates = {str(gate): str(verdict) for gate, verdict in row.items() if gate.startswith(GATE) and verdict is not None}
    for gate, verdict in gates.items():
        if verdict not in VERDICTS:
            raise ValueError(f"{gate} is {verdict!r}, expected one of {', '.join(VERDICTS)}")
    snapshot, swap = str(row["snapshot"]), str(row["swap"])
    return Cell(*name, snapshot, float(row["kimg"]), swap, int(row["level"]), numbers(row), gates)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Keep the finite numbers among measured values; null means not measured."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value) and name not in COORDINATES
    }


def _with_values(folder: Path, cells: Sequence[Cell], facts: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Give every cell its numbers per pair and per block."""
    path = folder / "values.parquet"
    pairs: dict[tuple[str, str, int], dict[str, Floats]] = {}
    blocks: dict[tuple[str, str, int], dict[str, Floats]] = {}
    for row in read_values(path):
        expected = facts["n_blocks"] if row.kind == "blocks" else facts["n_pairs"]
        if len(row.values) != expected:
            raise CorruptInputError(
                f"{path}: {len(row.values)} values of {row.measure} ({row.kind}), expected {expected}; evaluate again"
            )
        where, name = (row.snapshot, row.swap, row.level), parse(row.measure)
        measure = row.measure if row.kind != "pairs_own" else _own(name.family, name.n, name.extractor)
        (blocks if row.kind == "blocks" else pairs).setdefault(where, {})[measure] = row.values
    places = [(cell.snapshot, cell.swap, cell.level) for cell in cells]
    if strays := (pairs.keys() | blocks.keys()) - set(places):
        raise CorruptInputError(f"{path}: values of {sorted(strays)[0]}, which metrics.json lacks; evaluate again")
    return tuple(
        replace(cell, pairs=pairs.get(where, {}), blocks=blocks.get(where, {}))
        for cell, where in zip(cells, places, strict=True)
    )


def _own(family: str, n: str, extractor: str) -> str:
    base, underscore, rest = f"{family}_own".partition("_")
    return f"{base}{n}{underscore}{rest}" + (f"[{extractor}]" if extractor else "")


def _skipped(evaluation: Evaluation) -> list[dict[str, str]]:
    found: list[dict[str, str]] = evaluation.facts["not_run"]
    return found


def _check_same(evaluations: list[Evaluation]) -> None:
    """Refuse to compare what was measured on other latents, data or counts, by other instruments, or of two sources."""
    for name in (*SAME, *SAME_DATA, "source"):
        first: dict[str, Evaluation] = {}
        for evaluation in evaluations:
            other = first.setdefault(evaluation.dataset if name in SAME_DATA else "", evaluation)
            ours, theirs = (
                one.facts["weights"].get("source") if name == "source" else one.facts[name]
                for one in (evaluation, other)
            )
            if ours != theirs:
                raise CorruptInputError(
                    f"{evaluation.folder / 'metrics.json'}: {name} is {ours!r}, but {theirs!r} in {other.folder.name}; "
                    "cells measured differently cannot be compared, evaluate both again"
                )


def _check_snapshots(evaluations: list[Evaluation]) -> None:
    """Refuse evaluations of different snapshots: a method with more of them would have more to choose from."""
    first = evaluations[0]
    for evaluation in evaluations:
        ours, theirs = (sorted(one.facts["snapshots"]) for one in (evaluation, first))
        if ours != theirs:
            raise CorruptInputError(
                f"{evaluation.folder / 'metrics.json'}: snapshots {ours}, but {theirs} in {first.folder.name}; every "
                "method must offer the same ones, run `dvc repro` to swap and evaluate all again"
            )


def _missing_cells(evaluations: list[Evaluation]) -> list[str]:
    cells = [(cell.snapshot, cell.swap, cell.level) for evaluation in evaluations for cell in evaluation.cells]
    return [
        f"{evaluation.method} on {evaluation.dataset}, seed {evaluation.seed}, {place(*where)}: not run"
        for evaluation in evaluations
        for where in dict.fromkeys(cells)
        if where not in {(cell.snapshot, cell.swap, cell.level) for cell in evaluation.cells}
    ]


def _style(evaluations: list[Evaluation], family: str) -> str:
    """Return the key of a distance by the extractor that ranks, which every cell must have."""
    facts = evaluations[0].facts
    wanted = key(family, facts["n_gen"], facts["style"])
    for evaluation in evaluations:
        if without := [cell for cell in evaluation.cells if wanted not in cell.values]:
            where = place(without[0].snapshot, without[0].swap, without[0].level)
            raise CorruptInputError(
                f"{evaluation.folder / 'metrics.json'}: no {wanted} of {where}; style cannot be ranked without it, "
                "evaluate again"
            )
    return wanted
